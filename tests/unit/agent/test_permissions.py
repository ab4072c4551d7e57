from pathlib import Path

import pytest

from platemark.agent.permissions import Permissions, SignedPermission
from platemark.errors import MalformedError
from sample_documents import RESERVATION, TOKEN_ID

PERMISSION = SignedPermission("http://gateway.test", RESERVATION, b"\x01" * 65)


def test_a_permission_is_there_until_its_token_is(tmp_path: Path) -> None:
    permissions = Permissions(tmp_path / "pending")
    assert list(permissions.all()) == []
    permissions.keep(TOKEN_ID, PERMISSION)
    permissions.keep(TOKEN_ID, PERMISSION)
    assert list(Permissions(tmp_path / "pending").all()) == [PERMISSION]
    permissions.drop(TOKEN_ID)
    permissions.drop(TOKEN_ID)
    assert list(permissions.all()) == []


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"version": 1}'])
def test_a_damaged_permission_is_named_and_never_skipped(tmp_path: Path, text: str) -> None:
    permissions = Permissions(tmp_path)
    permissions.keep(TOKEN_ID, PERMISSION)
    (path,) = tmp_path.iterdir()
    path.write_text(text)
    with pytest.raises(MalformedError) as caught:
        list(permissions.all())
    assert caught.value.code == "record"
    assert str(path) in caught.value.message
