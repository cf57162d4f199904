"""What the tests of endpoints are given."""

from __future__ import annotations

import pytest

from tests.endpoint.chromium import Chromium, installed_chromium


@pytest.fixture
def chromium() -> Chromium:
    """A real browser, installed into the cache the first time."""
    return installed_chromium()
