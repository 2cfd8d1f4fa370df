"""What all tests of reliability share."""

import pytest


@pytest.fixture(autouse=True)
def forks_beside_threads(monkeypatch):
    """They are the very thing that is tried: from 3.12 Python warns of each."""
    monkeypatch.setenv("PYTHONWARNINGS", "ignore:This process:DeprecationWarning")
