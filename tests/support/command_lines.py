"""Every command of `lape`, by name, with all of its options."""

from __future__ import annotations

import argparse

from lape.cli import _parser

(_NAMED,) = (action.choices for action in _parser()._actions if isinstance(action, argparse._SubParsersAction))
COMMANDS = {name: command.complete() for name, command in _NAMED.items()}
