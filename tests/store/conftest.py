from __future__ import annotations

import pytest
from store_cases import N_TRAIN

from hdsens import Study
from hdsens.store import Store


@pytest.fixture
def store(tmp_path, small):
    store = Store(tmp_path / "results")
    store.begin(Study.from_dict(small), N_TRAIN)
    return store
