"""Rows of numbers to tables of text."""

from __future__ import annotations

import statistics
from typing import Any

HEAD = (
    "tool",
    "setting",
    "accepted",
    "s / accepted",
    "CPU s / accepted",
    "x ours lanes",
    "x ours path",
    "passes / accepted",
    "crop passes",
    "clean passes",
    "first call s",
    "peak MiB",
    "RMS",
    "share > 1/8",
    "slope",
)
REFERENCES = ("lanes/float32", "path/float32")


def row(worker: dict[str, Any]) -> dict[str, Any]:
    """One tool and setting, over its rounds; the images are those of the last.

    Nothing per accepted stimulus where none was.
    """
    rounds = worker["rounds"]
    seconds = [_ratio(r["seconds"], r["accepted"]) for r in rounds]
    cpu = [_ratio(r["cpu_seconds"], r["accepted"]) for r in rounds]
    passes = [_ratio(2 * r["search"] + r["clean"], r["accepted"]) for r in rounds]
    last = rounds[-1]
    return {
        "tool": worker["tool"],
        "setting": worker["setting"],
        "accepted": sum(r["accepted"] for r in rounds),
        "lanes": sum(r["lanes"] for r in rounds),
        "capped": sum(r["capped"] for r in rounds),
        "seconds": statistics.median(seconds),
        "cpu": statistics.median(cpu),
        "passes": statistics.median(passes),
        "search": statistics.median(r["search"] for r in rounds),
        "clean": statistics.median(r["clean"] for r in rounds),
        "first": worker["first"]["seconds"],
        "peak_mib": max(r["peak_mib"] for r in rounds),
        **{name: last[name] for name in ("rms", "fine", "slope")},
    }


def _ratio(total: float, accepted: int) -> float:
    return total / accepted if accepted else float("inf")


def show(workers: list[dict[str, Any]]) -> str:
    """The table of sweeps, Markdown."""
    rows = [row(worker) for worker in workers if worker.get("rounds")]
    base = {
        r["setting"]: r["seconds"] for r in rows if r["tool"] == "ours" and r["seconds"]
    }
    lines = [_line(HEAD), _line("---" for _ in HEAD)]
    for r in rows:
        ratios = [_number(_over(r["seconds"], base.get(k)), 2) for k in REFERENCES]
        lines.append(
            _line(
                (
                    r["tool"],
                    r["setting"],
                    f"{r['accepted']}/{r['lanes']}"
                    + (f" ({r['capped']} capped)" if r["capped"] else ""),
                    _number(r["seconds"], 2),
                    _number(r["cpu"], 2),
                    *ratios,
                    _number(r["passes"], 0),
                    _number(r["search"], 0),
                    _number(r["clean"], 0),
                    _number(r["first"], 1),
                    _number(r["peak_mib"], 0),
                    _number(r["rms"], 3),
                    _number(r["fine"], 2),
                    _number(r["slope"], 2),
                )
            )
        )
    failed = [w for w in workers if w.get("failed")]
    lines += [f"{w['tool']} {w['setting']} failed: {w['failed']}" for w in failed]
    return "\n".join(lines)


def show_steps(workers: list[dict[str, Any]], crops: int) -> str:
    """Milliseconds per step of one lane, and the ratio to ours in float32."""
    timed = {
        f"{w['tool']} {w['setting']}": statistics.median(w["lane_steps"])
        for w in workers
        if w.get("lane_steps")
    }
    base = timed.get("ours lanes/float32")
    head = ("step", f"ms per lane-step of {crops} crops", "x ours float32")
    lines = [_line(head), _line("---" for _ in head)]
    for name, seconds in timed.items():
        ratio = _number(_over(seconds, base), 2)
        lines.append(_line((name, _number(1000 * seconds, 1), ratio)))
    return "\n".join(lines)


def _over(value: float, base: float | None) -> float | None:
    return value / base if base and base != float("inf") else None


def _number(value: float | None, digits: int) -> str:
    if value is None or value == float("inf"):
        return "-"
    return f"{value:.{digits}f}"


def _line(cells: Any) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"
