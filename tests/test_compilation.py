"""The cache of compiled programs is the user's alone, or there is none."""

import jax
import pytest

from paramctl_jax import compilation


@pytest.fixture(autouse=True)
def no_cache(monkeypatch):
    """No cache before, and none left behind."""
    monkeypatch.delenv(compilation.SWITCH, raising=False)
    before = {
        name: getattr(jax.config, name)
        for name in (
            "jax_compilation_cache_dir",
            "jax_persistent_cache_min_compile_time_secs",
        )
    }
    jax.config.update("jax_compilation_cache_dir", None)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


def test_it_lies_in_the_user_s_cache_and_is_private(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = compilation.use_compilation_cache()
    assert path is not None
    assert path.is_relative_to(tmp_path / "paramctl_jax" / "compiled")
    assert path.stat().st_mode & 0o777 == 0o700
    assert jax.config.jax_compilation_cache_dir == str(path)


@pytest.mark.parametrize("word", ["off", "OFF", "0", "no"])
def test_it_can_be_switched_off(monkeypatch, tmp_path, word):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv(compilation.SWITCH, word)
    assert compilation.use_compilation_cache() is None
    assert jax.config.jax_compilation_cache_dir is None
    assert not list(tmp_path.iterdir())


def test_what_jax_was_told_is_left_alone(tmp_path):
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "mine"))
    assert compilation.use_compilation_cache() == tmp_path / "mine"
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize("mode", [0o777, 0o720])
def test_a_folder_that_others_may_write_to_is_not_used(tmp_path, mode):
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(mode)
    assert compilation.use_compilation_cache(folder) is None
    assert jax.config.jax_compilation_cache_dir is None


def test_a_link_to_somewhere_else_is_not_used(tmp_path):
    (tmp_path / "there").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "there")
    assert compilation.use_compilation_cache(tmp_path / "link") is None


def test_where_nothing_can_be_made_there_is_no_cache(tmp_path):
    (tmp_path / "file").write_text("in the way")
    assert compilation.use_compilation_cache(tmp_path / "file" / "cache") is None


def test_programs_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(compilation, "_SHORTEST", 0.0)
    path = compilation.use_compilation_cache(tmp_path / "cache")
    assert path is not None
    jax.jit(lambda x: x * 3 + 1)(2.0).block_until_ready()
    assert list(path.iterdir())
