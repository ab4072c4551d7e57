"""All models at once: whoever needs every table (migrations, tests) imports them here."""

from importlib import import_module
from pkgutil import iter_modules

import platemark_gateway.models


def load_models() -> None:
    """Import every module of models, so that `Base.metadata` knows every table."""
    for module in iter_modules(platemark_gateway.models.__path__):
        import_module(f"platemark_gateway.models.{module.name}")
