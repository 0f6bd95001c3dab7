"""A page as an HTML parser sees it."""

from html.parser import HTMLParser

VOID = {"meta", "img", "input", "source", "br"}


class Page(HTMLParser):
    """Tags, attributes, ids, and the text of tables and scripts."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.open = [], [], []
        self.rows, self.scripts, self.text = [], [], ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "script" in self.open:
            self.scripts[-1] += data
        elif "style" not in self.open:
            self.text += data
            if {"td", "th"} & set(self.open):
                self.rows[-1][-1] += data

    def all(self, tag):
        return [attributes for name, attributes in self.attributes if name == tag]

    def row(self, name):
        return next(row for row in self.rows if row and row[0] == name)
