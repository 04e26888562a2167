"""Profiles: which Purser, which key and which account, kept by name in a file that only its owner can read."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from purser.inbound.cli.failure import Failure, clean, usage

DEFAULT = "default"
_NAMES = ("url", "api_key", "operator_key", "account")


@dataclass(frozen=True, slots=True)
class Profile:
    """One profile; what is None was not given."""

    url: str | None = None
    api_key: str | None = None
    operator_key: str | None = None
    account: str | None = None


def profiles_path() -> Path:
    """Where the profiles are kept."""
    configured = os.environ.get("XDG_CONFIG_HOME")
    return (Path(configured) if configured else Path.home() / ".config") / "purser" / "profiles.toml"


def load_profiles() -> dict[str, Profile]:
    """Every profile by name, none where there is no file; raises Failure for a file that is not right."""
    import tomllib

    path = profiles_path()
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise Failure(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise Failure(f"{path} is not TOML: {error}", then="Correct it, or delete it and run: purser login") from None
    profiles = {}
    for name, values in found.items():
        if not isinstance(values, dict):
            raise Failure(f"{path}: {name} is no profile; one begins with a line such as [{DEFAULT}]")
        for key, value in values.items():
            if key not in _NAMES or not isinstance(value, str):
                raise Failure(f"{path}: [{name}] may hold {', '.join(_NAMES)}, each a string; {key} is not right")
        profiles[name] = Profile(**values)
    return profiles


def choose_profile(name: str | None) -> Profile:
    """The profile asked for, or the default one where it exists; raises Failure for one that does not."""
    if name is None:
        return load_profiles().get(DEFAULT, Profile())
    profiles = load_profiles()
    if name not in profiles:
        known = ", ".join(sorted(profiles)) or "none"
        raise usage(
            f"there is no profile {clean(name)!r} (known: {known})",
            f"Make it with: purser login --profile {clean(name)}",
        )
    return profiles[name]


def keep_profile(name: str, profile: Profile) -> Path:
    """Write a profile over one of that name; the file is readable by its owner alone. Answers the file."""
    import tempfile

    path = profiles_path()
    profiles = {**load_profiles(), name: profile}
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, scratch = tempfile.mkstemp(dir=path.parent, prefix=".profiles-")  # made with mode 0600
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write("\n".join(_render(each, profiles[each]) for each in sorted(profiles)))
        os.replace(scratch, path)
    except OSError as error:
        raise Failure(f"{path} cannot be written: {error.strerror}") from None
    return path


def _render(name: str, profile: Profile) -> str:
    """A table of TOML, whose basic strings JSON's are."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in asdict(profile).items() if value is not None]
    return "\n".join([f"[{json.dumps(name)}]", *lines, ""])
