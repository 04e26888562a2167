"""What the model server says: readable sentences and JSON values, the same for the same seed."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b

from purser.modelserver.tokens import split_tokens

SHORTEST_TOKENS = 20
LONGEST_TARGET_TOKENS = 370
SENTENCES_PER_PARAGRAPH = 5
DEEPEST_SCHEMA = 8

_ADJECTIVES = (
    "amber ample ancient autumn blue bold brief bright broad calm careful clear cold copper curious "
    "deep distant eager early empty even faint fair familiar first flat fresh gentle glad golden grand "
    "green grey hidden honest idle inner kind large late light little long low mellow mild modest "
    "narrow new northern old open orderly patient plain polite quick quiet rare ready round rustic "
    "second sharp short silent silver simple slow small smooth soft southern spare steady still stone "
    "strong sunny sure tall third tidy tiny usual warm western white whole wide wild windy winter wise "
    "wooden young"
).split()
_NOUNS = (
    "account anchor answer apple arch archive barrel basket beacon bell bench bird boat book bottle "
    "branch bread bridge brook builder canal candle captain castle chair chapter clerk clock cloud "
    "coast coin corner cottage counter courier crane crew cup dawn desk dock door engine evening farmer "
    "feather fence ferry field fire garden gate glass grain grove guest hall harbour hill horse hour "
    "house island journal kettle key kitchen ladder lake lamp lantern ledger letter library light "
    "lighthouse machine map market meadow melody merchant message mill mirror moon morning mountain "
    "number oak office orchard page painter paper parcel path pencil pier pilot pocket pond porter "
    "potter question rain reader record ridge river road rope sailor season shadow shelf ship shore "
    "signal song spring square station story street summer table teacher tide tower town traveller tree "
    "valley village visitor voice wagon wall watch water weather wheel wind window winter writer"
).split()
_VERBS = (
    "answers arrives asks begins brings builds carries changes closes collects counts crosses draws "
    "drifts enters explains feels finds follows gathers gives grows holds hums joins keeps knows leads "
    "learns leaves lifts listens meets mends moves notices offers opens passes pauses points reaches "
    "reads remembers rests returns rises sails settles shines shows sings sleeps speaks stands starts "
    "stays stops tells turns waits wakes walks wanders watches welcomes works writes"
).split()
_ADVERBS = (
    "again almost already always calmly carefully clearly early easily evenly finally gently gladly "
    "kindly later lightly neatly often patiently plainly quickly quietly rarely simply slowly softly "
    "sometimes soon steadily still then today together twice warmly well"
).split()
_PLACES = (
    "above across along among around at before behind below beneath beside between beyond by from in "
    "inside near of on outside over past through toward under until with within without"
).split()
_JOINS = "and but so while because although until".split()
_CLASSES = {"A": _ADJECTIVES, "N": _NOUNS, "V": _VERBS, "D": _ADVERBS, "P": _PLACES, "J": _JOINS}
_PATTERNS = tuple(
    pattern.split()
    for pattern in (
        "the A N V P the N .",
        "the N V D , J the N V P the A N .",
        "one A N V P the N , J the A N V D .",
        "in the A N , the N V P one N .",
        "every N V P the N D .",
        "the N of the N V P the A N .",
        "when the N V , the A N V D P the N .",
        "D , the N V P the N J the N V .",
    )
)
_MASK = (1 << 64) - 1


class Picks:
    """A stream of choices fixed by a seed (SplitMix64), the same on every machine and version."""

    def __init__(self, *seed: bytes) -> None:
        digest = blake2b(digest_size=8)
        for part in seed:
            digest.update(b"%d:" % len(part))
            digest.update(part)
        self._state = int.from_bytes(digest.digest(), "big")

    def below(self, limit: int) -> int:
        """A whole number from 0 to `limit` - 1."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        mixed = self._state
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        return (mixed ^ (mixed >> 31)) % limit

    def one_of(self, words: list[str]) -> str:
        """One of the words."""
        return words[self.below(len(words))]


def _sentences(picks: Picks) -> Iterator[list[str]]:
    """Sentences without end, each as its tokens; joined they tokenise to the same tokens."""
    count = 0
    while True:
        words: list[str] = []
        for part in _PATTERNS[picks.below(len(_PATTERNS))]:
            word = picks.one_of(_CLASSES[part]) if part in _CLASSES else part
            if not words:
                word = word.capitalize()
            words.append(word if word in (",", ".") or not words else " " + word)
        if count and count % SENTENCES_PER_PARAGRAPH == 0:
            words.insert(0, "\n\n")
        elif count:
            words[0] = " " + words[0]
        count += 1
        yield [token.decode() for word in words for token in split_tokens(word)]


def compose(picks: Picks, exact_tokens: int | None, most_tokens: int) -> tuple[list[str], bool]:
    """An answer as its tokens, and whether it came to its own end rather than to `most_tokens`.

    With `exact_tokens` its own end is there, else at the end of a sentence after 20 to 400 tokens.
    """
    target_tokens = SHORTEST_TOKENS + picks.below(LONGEST_TARGET_TOKENS - SHORTEST_TOKENS)
    if exact_tokens is not None:
        target_tokens = exact_tokens
    tokens: list[str] = []
    sentences = _sentences(picks)
    while len(tokens) < target_tokens and len(tokens) <= most_tokens:
        tokens.extend(next(sentences))
    if exact_tokens is not None:
        del tokens[exact_tokens:]
    complete = len(tokens) <= most_tokens
    return tokens[:most_tokens], complete


def sample_json(schema: object, picks: Picks, depth: int = 0) -> object:
    """A JSON value that fits the usual parts of a JSON schema: type, properties, items, enum, const."""
    if not isinstance(schema, dict):
        return picks.one_of(_NOUNS)
    if "const" in schema:
        return schema["const"]
    options = schema.get("enum")
    if isinstance(options, list) and options:
        return options[picks.below(len(options))]
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = kind[0] if kind else "null"
    properties = schema.get("properties")
    if kind == "object":
        if not isinstance(properties, dict) or depth >= DEEPEST_SCHEMA:
            return {}
        return {name: sample_json(part, picks, depth + 1) for name, part in properties.items()}
    if kind == "array":
        return [] if depth >= DEEPEST_SCHEMA else [sample_json(schema.get("items"), picks, depth + 1)]
    if kind in ("integer", "number"):
        return 1 + picks.below(99)
    if kind == "boolean":
        return picks.below(2) == 1
    return None if kind == "null" else f"{picks.one_of(_ADJECTIVES)} {picks.one_of(_NOUNS)}"
