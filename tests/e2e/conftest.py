"""What all end-to-end tests share: one life of a design."""

from collections.abc import Iterator

import pytest

from life import Life, whole_life


@pytest.fixture(scope="session")
def life(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    with whole_life(tmp_path_factory.mktemp("life")) as told:
        yield told
