"""A first signal is noted where work can be saved, a second one ends at once."""

import os
import signal

import pytest

from paramctl_jax import stopping


@pytest.fixture(autouse=True)
def listening():
    """Signals of this process, given back afterwards."""
    before = {number: signal.getsignal(number) for number in stopping.SIGNALS}
    stopping.listen()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    stopping._STATE.noted = None


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_outside_of_orderly_work_a_signal_ends_at_once(number):
    with pytest.raises(stopping.Stopped, match=signal.Signals(number).name):
        send(number)


def test_ctrl_c_outside_of_orderly_work():
    with pytest.raises(KeyboardInterrupt):
        send(signal.SIGINT)


@pytest.mark.parametrize("number", stopping.SIGNALS)
def test_orderly_work_is_only_told(number, capfd):
    @stopping.orderly()
    def work():
        assert not stopping.asked()
        send(number)
        assert stopping.asked()
        assert signal.Signals(number).name in stopping.reason()

    with pytest.raises(stopping.Stopped):  # on leaving
        work()
    assert "stopping after this step" in capfd.readouterr().err


def test_a_second_ctrl_c_ends_at_once():
    @stopping.orderly()
    def work():
        send(signal.SIGINT)
        send(signal.SIGINT)
        pytest.fail("went on")

    with pytest.raises(KeyboardInterrupt):
        work()


def test_an_error_inside_is_not_hidden():
    @stopping.orderly()
    def work():
        send(signal.SIGTERM)
        return 1 / 0

    with pytest.raises(ZeroDivisionError):
        work()


def test_orderly_work_inside_orderly_work():
    @stopping.orderly()
    def work():
        with stopping.orderly():
            send(signal.SIGTERM)
        assert stopping.asked()  # the outer one decides

    with pytest.raises(stopping.Stopped):
        work()


def test_a_watcher_may_ask_for_the_end():
    wanted = []
    with stopping.watching(lambda: bool(wanted)):
        assert not stopping.asked()
        wanted.append(1)
        assert stopping.asked()
        assert "SIGTERM" in stopping.reason()
