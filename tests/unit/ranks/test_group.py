"""What a rank reads from its environment."""

from __future__ import annotations

import pytest

from unbroken.errors import SettingsInvalid
from unbroken.ranks.group import TIMEOUT_SECONDS, TIMEOUT_VARIABLE, OneProcess, _timeout, together
from unbroken.run.shared_start import _restarts


@pytest.mark.parametrize("told", ["", "soon", "0", "-1", "nan", "inf", "1e12"])
def test_a_time_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, told: str) -> None:
    """By the name of the variable; without it the wait is the usual one."""
    monkeypatch.delenv(TIMEOUT_VARIABLE, raising=False)
    assert _timeout() == TIMEOUT_SECONDS
    monkeypatch.setenv(TIMEOUT_VARIABLE, "3600")
    assert _timeout() == 3600
    monkeypatch.setenv(TIMEOUT_VARIABLE, told)
    with pytest.raises(SettingsInvalid, match=TIMEOUT_VARIABLE):
        _timeout()


def test_restarts_that_may_not_come_up_are_told() -> None:
    """Where torchrun restarts, and shares its store; not where it does neither."""
    restarts = {"TORCHELASTIC_MAX_RESTARTS": "2", "TORCHELASTIC_USE_AGENT_STORE": "True"}
    assert "TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1" in _restarts(restarts)[0]
    assert _restarts({**restarts, "TORCHELASTIC_USE_AGENT_STORE": "False"}) == []
    assert _restarts({**restarts, "TORCHELASTIC_MAX_RESTARTS": "0"}) == []
    assert _restarts({}) == []


def test_of_one_process_an_error_is_its_own() -> None:
    """Nobody else has to hear of it."""
    with pytest.raises(ValueError, match="mine"), together(OneProcess()):
        raise ValueError("mine")
