"""The prices commands: the price book, what would change in it, publishing it, and prices that others publish."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from purser.inbound.cli import figures
from purser.inbound.cli.backtest import backtest
from purser.inbound.cli.failure import ERROR, NOT_FOUND, Failure, usage
from purser.inbound.cli.reach import UNSAID, DryRun, Printing, Reach
from purser.inbound.cli.show import ID, MONEY, NUMBER, TEXT, Column, print_json, show_list, tell, tell_dry_run

app = App(
    name="prices", help="The price book: show, check, diff, publish, import, backtest. Most need the operator key."
)
app.command(backtest, name="backtest")

_PATH = "/operator/v1/prices"
_USUAL = ("input", "cached_input", "output")
_MISTAKES = (Column("LINE", "line", NUMBER), Column("FIELD", "field", TEXT), Column("MISTAKE", "message", TEXT))
_CHANGES = (
    Column("MODEL", "model", ID),
    Column("PRICE", "price", ID),
    Column("PER", "per", ID),
    Column("BEFORE", "before", MONEY),
    Column("AFTER", "after", MONEY),
    Column("CHANGE", "change", ID),
)
EffectiveAt = Annotated[
    str | None, Parameter(help="From when, such as 2026-04-01; as the file says, or at once, if not given.")
]


def _columns(models: Mapping[str, Mapping[str, str]], output: str) -> list[Column]:
    """A column for each price that some model has, and always those of tokens where any is priced by them."""
    from purser.core.pricebook import MULTIPLIER, PRICES
    from purser.core.usage import TOKEN_KINDS

    has = {name for price in models.values() for name in price}
    if output == "csv" or has & set(_USUAL) or not has:
        has.update(_USUAL)
    columns = [Column("MODEL", "model", ID)]
    for name, price in PRICES.items():
        if name in has:
            words = name.replace("_", " ") if price.unit in TOKEN_KINDS else price.words
            columns.append(Column(words.upper(), name, MONEY))
    return [*columns, Column("PRIORITY ×", MULTIPLIER)] if MULTIPLIER in has or output == "csv" else columns


def _show(reach: Reach, document: dict[str, Any], book: dict[str, Any]) -> None:
    models = book["models"]
    rows = [{"model": model, **price} for model, price in sorted(models.items())]
    columns = _columns(models, reach.output)
    show_list(reach.output, document, rows, columns, "No model has a price yet. See: purser prices publish --help")
    if reach.output == "table" and rows:
        since = figures.when(book["effectiveAt"])
        tell(f"Dollars per million tokens; version {book['version']}, in force from {since} UTC.")


def _find(found: Mapping[str, Any], version: int) -> dict[str, Any]:
    book = next((each for each in found["versions"] if each["version"] == version), None)
    if book is None:
        raise Failure(f"there is no version {version} of the price book", code=NOT_FOUND)
    return dict(book)


@app.command(name="show")
def show(
    *,
    version: Annotated[int | None, Parameter(help="This version of the book; the one in force if not given.")] = None,
    reach: Reach = UNSAID,
) -> None:
    """Show every model's price, in dollars per million tokens, image, minute and the like.

    Example: purser prices show
    """
    found = reach.call_as_operator().get(_PATH)
    if version is not None:
        book = _find(found, version)
        _show(reach, book, book)
        return
    _show(reach, found, found)
    later = [each for each in found["versions"] if each["version"] > (found["version"] or 0)]
    for each in reversed(later if reach.output == "table" else []):
        tell(
            f"Version {each['version']} follows on {figures.when(each['effectiveAt'])} UTC: --version {each['version']}"
        )


# ── publish ──────────────────────────────────────────────────────────────────────────────────────────────────────
@Parameter(name="*")
@dataclass(frozen=True)
class OnePrice:
    """The price of one model, by options named as its fields are."""

    input: Annotated[
        str | None, Parameter(allow_leading_hyphen=True, help="Dollars per million tokens, such as 0.20.")
    ] = None
    output_price: Annotated[
        str | None,
        Parameter(allow_leading_hyphen=True, name="--output", help="Dollars per million tokens, such as 0.80."),
    ] = None
    cached_input: Annotated[
        str | None, Parameter(allow_leading_hyphen=True, help="Dollars per million; half of --input if not given.")
    ] = None
    cache_write_5m: Annotated[
        str | None, Parameter(allow_leading_hyphen=True, help="Dollars per million tokens kept for 5 minutes.")
    ] = None
    cache_write_1h: Annotated[
        str | None, Parameter(allow_leading_hyphen=True, help="Dollars per million tokens kept for an hour.")
    ] = None
    audio_input: Annotated[
        str | None, Parameter(allow_leading_hyphen=True, help="Dollars per million tokens of speech heard.")
    ] = None
    audio_output: Annotated[
        str | None, Parameter(allow_leading_hyphen=True, help="Dollars per million tokens of speech spoken.")
    ] = None
    image_input: Annotated[
        str | None, Parameter(allow_leading_hyphen=True, help="Dollars per million tokens of images seen.")
    ] = None
    image_output: Annotated[
        str | None, Parameter(allow_leading_hyphen=True, help="Dollars per million tokens of images made.")
    ] = None
    image: Annotated[str | None, Parameter(allow_leading_hyphen=True, help="Dollars per image.")] = None
    step: Annotated[str | None, Parameter(allow_leading_hyphen=True, help="Dollars per step of making an image.")] = (
        None
    )
    audio_minute: Annotated[str | None, Parameter(allow_leading_hyphen=True, help="Dollars per minute of audio.")] = (
        None
    )
    search: Annotated[str | None, Parameter(allow_leading_hyphen=True, help="Dollars per search unit of a rerank.")] = (
        None
    )
    training: Annotated[
        str | None, Parameter(allow_leading_hyphen=True, help="Dollars per million training tokens.")
    ] = None
    gpu_hour: Annotated[
        str | None, Parameter(allow_leading_hyphen=True, help="Dollars per GPU-hour of the accelerator --model names.")
    ] = None
    priority: Annotated[
        str | None, Parameter(help='What service_tier "priority" multiplies every token\'s rate by, such as 1.25.')
    ] = None

    def fields(self) -> dict[str, str]:
        """Those given, by the names they have in a price."""
        given = {name.removesuffix("_price"): value for name, value in asdict(self).items()}
        return {name: value for name, value in given.items() if value is not None}


@app.command(name="publish")
def publish(
    file: Annotated[Path | None, Parameter(help="A file of prices, TOML or JSON; see docs/prices.md.")] = None,
    /,
    *,
    model: Annotated[str | None, Parameter(help="One model instead, as customers call it.")] = None,
    price: OnePrice | None = None,
    effective_at: EffectiveAt = None,
    dry_run: DryRun = False,
    reach: Reach = UNSAID,
) -> None:
    """Publish a new version of the price book; models not named keep their prices. Nothing already rated changes.

    Example: purser prices publish --model tiny --input 0.20 --output 0.80
    """
    given = {} if price is None else price.fields()
    if (file is None) == (model is None) or (file is not None and given):
        raise usage("give either a FILE of prices, or --model and its prices")
    _publish(reach, _body_of(file, model, given, effective_at), dry_run=dry_run)


def _body_of(file: Path | None, model: str | None, given: dict[str, str], effective_at: str | None) -> dict[str, Any]:
    if file is not None:
        from purser.inbound.cli.price_files import read_sound

        return read_sound(file).body(effective_at)
    return {"models": {model: given}, **({} if effective_at is None else {"effectiveAt": effective_at})}


def _publish(reach: Reach, body: dict[str, Any], *, dry_run: bool) -> None:
    book = reach.call_as_operator().post(_PATH, body, dry_run=dry_run)
    tell_dry_run(dry_run)
    _show(reach, book, book)


# ── check and diff ───────────────────────────────────────────────────────────────────────────────────────────────
@app.command(name="check")
def check(
    file: Annotated[Path, Parameter(help="A file of prices, TOML or JSON; see docs/prices.md.")],
    /,
    *,
    printing: Printing = Printing(),  # noqa: B008 - it is frozen
) -> None:
    """Check a file of prices without publishing it, and say all that is wrong with it. Calls nobody.

    Example: purser prices check prices.toml
    """
    from purser.inbound.cli.price_files import read

    found = read(file)
    mistakes = [asdict(mistake) for mistake in found.mistakes]
    if printing.output == "table" and mistakes:
        raise Failure("\n".join(mistake.text(file) for mistake in found.mistakes))
    document = {"models": len(found.models), "mistakes": mistakes}
    fine = f"{file}: {len(found.models)} model{'' if len(found.models) == 1 else 's'}, nothing wrong."
    show_list(printing.output, document, mistakes, _MISTAKES, fine)
    if mistakes:
        raise SystemExit(ERROR)


@app.command(name="diff")
def diff(
    what: Annotated[
        str | None, Parameter(help="A file of prices, or a version; the one in force if not given.")
    ] = None,
    against: Annotated[int | None, Parameter(help="The version to compare with; see below if not given.")] = None,
    /,
    *,
    reach: Reach = UNSAID,
) -> None:
    """Show what a file or a version changes: dollars before and after, and by how many percent.

    A file is compared with the version in force when it would be; a version with the one that it took the place of.

    Example: purser prices diff prices.toml
    """
    caller = reach.call_as_operator()
    found = caller.get(_PATH)
    if what is not None and not what.isdecimal():
        from purser.inbound.cli.price_files import read_sound

        body = read_sound(Path(what)).body()
        new = caller.post(_PATH, body, dry_run=True)  # so it is read as it would be, defaults and all
    else:
        version = found["version"] if what is None else int(what)
        new = {"version": 0, "effectiveAt": "", "models": {}} if version is None else _find(found, version)
    old = _before(found, new) if against is None else _find(found, against)
    rows = _changes(old["models"], new["models"])
    document = {"before": old["version"], "after": new["version"], "changes": rows}
    show_list(reach.output, document, rows, _CHANGES, f"Nothing differs from version {old['version']}.")
    if reach.output == "table" and rows:
        tell(f"Dollars; from version {old['version']} to {what or new['version']}.")


def _before(found: Mapping[str, Any], book: Mapping[str, Any]) -> dict[str, Any]:
    """The version in force just before another one takes effect."""
    place = (book["effectiveAt"], book["version"])
    earlier = [each for each in found["versions"] if (each["effectiveAt"], each["version"]) < place]
    empty = {"version": 0, "effectiveAt": "", "models": {}}
    return dict(max(earlier, key=lambda each: (each["effectiveAt"], each["version"]), default=empty))


def _changes(old: Mapping[str, Mapping[str, str]], new: Mapping[str, Mapping[str, str]]) -> list[dict[str, Any]]:
    """Each price that differs, by model and in the order of the fields."""
    from purser.core.pricebook import PRICE_NAMES, PRICES

    rows = []
    for model in sorted(old.keys() | new.keys()):
        was, becomes = old.get(model, {}), new.get(model, {})
        for name in PRICE_NAMES:
            before, after = was.get(name), becomes.get(name)
            if before != after:
                per = f"/ {PRICES[name].short}" if name in PRICES else "×"
                row = {"model": model, "price": name, "per": per, "before": before, "after": after}
                rows.append({**row, "change": _percent(before, after)})
    return rows


def _percent(before: str | None, after: str | None) -> str | None:
    """By how much a price changes, such as "+25.0 %", to the nearest tenth; None where there is nothing to compare."""
    was, becomes = figures.nanos_of(before), figures.nanos_of(after)
    if not was or becomes is None:
        return None
    thousandths = (2 * 1_000 * abs(becomes - was) + was) // (2 * was)
    return f"{'+' if becomes > was else '−'}{thousandths // 10}.{thousandths % 10} %"


# ── import ───────────────────────────────────────────────────────────────────────────────────────────────────────
@app.command(name="import")
def import_(
    file: Annotated[Path | None, Parameter(help="The file, of LiteLLM's model_prices_and_context_window.json.")] = None,
    /,
    *,
    source: Annotated[Literal["genai-prices", "litellm"], Parameter(name="--from", help="Whose prices.")],
    provider: Annotated[str | None, Parameter(help="Prices of this provider, such as fireworks.")] = None,
    model: Annotated[list[str] | None, Parameter(help="This model alone; may be given again.")] = None,
    publish: Annotated[bool, Parameter(negative="", help="Publish them at once, instead of printing a file.")] = False,
    effective_at: EffectiveAt = None,
    dry_run: DryRun = False,
    reach: Reach = UNSAID,
) -> None:
    """Turn prices that others publish into a file of prices to look through; say what cannot be taken over, and why.

    Example: purser prices import --from genai-prices --provider fireworks > prices.toml
    """
    from purser.inbound.cli import price_files, price_sources

    if source == "litellm":
        if file is None:
            raise usage("--from litellm needs a FILE")
        found, whose = price_sources.from_litellm(file, provider, model or ()), f"{file.name} (LiteLLM's format)"
    else:
        if file is not None or provider is None:
            raise usage("--from genai-prices needs --provider, and no FILE")
        now = time.time_ns() // 1000
        found, whose = price_sources.from_genai(provider, model or (), now), f"{provider} in genai-prices"
    for one in found.left_out:
        tell(f"left out: {one.model}{'' if one.price is None else f', {one.price}'}: {one.reason}")
    if publish or dry_run:
        if not found.models:
            raise Failure("there is no price to publish")
        body = {"models": found.models, **({} if effective_at is None else {"effectiveAt": effective_at})}
        _publish(reach, body, dry_run=dry_run)
    elif reach.output == "table":
        print(
            price_files.write(found.models, f"Prices of {whose}.\nLook through them: purser prices diff FILE"), end=""
        )
    else:
        document = {"models": found.models, "leftOut": [asdict(one) for one in found.left_out]}
        rows = [{"model": name, **price} for name, price in found.models.items()]
        if reach.output == "json":
            print_json(document)
        else:
            show_list("csv", document, rows, _columns(found.models, "csv"), "")
