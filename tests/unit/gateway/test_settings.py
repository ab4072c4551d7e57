import pytest
from pydantic import ValidationError

from platemark.errors import UsageError
from platemark_gateway.commands import settings_of
from platemark_gateway.settings import Settings, without_credentials


def test_chain_endpoints_are_a_list_in_the_order_of_preference() -> None:
    settings = Settings(rpc_url="https://one.test/key, http://two.test/a,b")
    assert settings.rpc_urls() == ("https://one.test/key", "http://two.test/a,b")
    assert Settings(rpc_url="http://one.test").rpc_urls() == ("http://one.test",)


@pytest.mark.parametrize("text", ["", "one.test", "https://one.test,https://one.test", "ws://one.test"])
def test_what_is_no_list_of_endpoints_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        Settings(rpc_url=text)


def test_addresses_are_shown_without_what_may_be_secret() -> None:
    shown = without_credentials("https://user:secret@one.test/v3/secret,http://two.test?key=secret,http://three.test")
    assert shown == "https://one.test/…,http://two.test/…,http://three.test"
    assert without_credentials("one.test+1+key https://user:secret@one.test/w") == "one.test+1+key https://one.test/…"


@pytest.mark.parametrize(
    "text",
    ["", "garbage", "mysql://user:secret@host/name", "postgresql+asyncpg://user:secret@host/name", "sqlite:///x"],
)
def test_what_is_no_database_of_ours_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        settings_of(database_url=text)
    assert refused.value.code == "settings"
    assert "secret" not in refused.value.message
