"""The keys of purser.toml in one table: name, kind, default and meaning; checks, messages and docs derive from it."""

from __future__ import annotations

from dataclasses import dataclass

from purser.core.adaptive import LARGE, MEDIUM, SMALL
from purser.core.admission import FIT, REFUSE
from purser.core.deployment import REPORTED, SIMULATED
from purser.core.limits import MODES, POSTPAID
from purser.core.money import format_usd
from purser.core.policy import AT_SIGN_UP, WITH_CARD, Policy
from purser.setting_kinds import (
    CLIENT_SECRET,
    DATABASE_URL,
    DUNNING_DAYS,
    FLAG,
    HOST,
    INSTANT,
    ISSUER,
    MAIL_URL,
    NETWORKS,
    OPERATOR_KEY,
    PRICE,
    PUBLIC_URL,
    RATE,
    SENDER,
    TOKENS,
    UPSTREAMS,
    VARIABLE_NAME,
    Kind,
    choice,
    text,
    usd,
    whole,
    written,
)

ENGINES = ("vllm", "sglang", "llamacpp", "ollama", "openai", "other")
SYSTEM, MANUAL = "system", "manual"
MODELS, TIERS, RATE_LIMITS = "models", "tiers", "rate_limits"
REPEATED = (MODELS, TIERS)  # tables of which there may be several


@dataclass(frozen=True, slots=True)
class Key:
    """One key: `default` as written in the file (None: unset, REQUIRED: none), `otherwise` what unset means."""

    name: str
    kind: Kind
    default: object
    meaning: str
    table: str = ""
    otherwise: str = ""
    in_file: bool = True

    @property
    def path(self) -> str:
        """The key with its table, as the docs call it: `port`, `rate_limits.requests_per_minute`, `models[].name`."""
        if self.table in REPEATED:
            return f"{self.table}[].{self.name}"
        return f"{self.table}.{self.name}" if self.table else self.name

    @property
    def variable(self) -> str | None:
        """The environment variable that overrides it; the keys of repeated tables have none."""
        return None if "[" in self.path else "PURSER_" + self.path.upper().replace(".", "_")


REQUIRED = object()  # the default of a key that must be given


_MOST_USD = "1000000"


def _usd(name: str, nanos: int, least: str, meaning: str) -> Key:
    return Key(name, usd(least, _MOST_USD), format_usd(nanos), meaning)


# ── the table ────────────────────────────────────────────────────────────────────────────────────────────────────
_RULES = Policy()
_UNVERIFIED = _RULES.requests_per_minute_unverified
_STARTS, _NONE, _RATE = "starts, for each account", "no limit", whole(1, 10**12)
KEYS = (
    Key("database_url", DATABASE_URL, "sqlite:///purser.db", "the books; a relative file lies beside purser.toml"),
    Key("host", HOST, "127.0.0.1", "address to listen on; `0.0.0.0` takes all of IPv4"),
    Key("port", whole(0, 65_535), 8080, "port to listen on; 0 takes any free one"),
    Key("workers", whole(1, 256), 1, "serving processes"),
    Key("clock", choice(SYSTEM, MANUAL), SYSTEM, "billing time: the system's, or one that only `purser clock` moves"),
    Key("clock_start", INSTANT, None, "where a new manual clock starts", otherwise="now"),
    Key("trusted_proxies", NETWORKS, [], "whose X-Forwarded-For is believed; with commas between in the environment"),
    Key("operator_key", OPERATOR_KEY, None, "the first operator key", in_file=False),
    Key("max_body_mib", whole(1, 1_024), 32, "largest request body, MiB"),
    Key("max_connections", whole(1, 1_000_000), 10_000, "client connections of one serving process"),
    Key("shutdown_grace_seconds", whole(0, 3_600), 30, "how long running requests may take to end at a stop"),
    Key("upstream_timeout_seconds", whole(1, 86_400), 600, "longest silence of a model server, unless its model says"),
    Key("upstream_connect_timeout_seconds", whole(1, 300), 5, "longest wait for a connection to a model server"),
    Key("payment_provider", choice("test"), "test", "who charges cards; `test` takes test tokens and moves no money"),
    Key("mail_url", MAIL_URL, None, "the SMTP server that mail goes through, or a folder", otherwise="none is sent"),
    Key("mail_from", SENDER, "purser@localhost", "the address that mail is from"),
    Key("webhook_private_addresses", FLAG, False, "webhooks may go to http and to private addresses: for trying out"),
    Key("sign_up", FLAG, False, "whoever has an e-mail address may open an account; else the operator opens them"),
    Key("public_url", PUBLIC_URL, None, "where people reach this, for links in mail", otherwise="http://`host`:`port`"),
    Key("oidc_issuer", ISSUER, None, "the OpenID Connect provider where people may sign in too", otherwise="none"),
    Key("oidc_client_id", text(200), "purser", "what it calls this gateway; it sends people back to `public_url`"),
    Key("oidc_client_secret", CLIENT_SECRET, None, "its secret, where it gave one", in_file=False),
    _usd("signup_credit_usd", _RULES.signup_credit_nanos, "0", "credit a new account starts with"),
    Key("signup_credit_rule", choice(AT_SIGN_UP, WITH_CARD), AT_SIGN_UP, "when: at once, or once for each card"),
    Key("billing_mode", choice(*MODES), POSTPAID, "how accounts pay that are opened without a mode of their own"),
    Key("prepaid_from", INSTANT, None, "accounts opened from then on are prepaid, older ones keep their mode"),
    _usd("depletion_threshold_usd", _RULES.depletion_threshold_nanos, "0", "a refusal with less left means depleted"),
    _usd("minimum_charge_usd", _RULES.minimum_charge_nanos, "0", "an invoice below it is carried to the next one"),
    Key(
        "dunning_days", DUNNING_DAYS, list(_RULES.dunning_days), "days after issue on which a failed charge is retried"
    ),
    Key("payment_grace_days", whole(0, 365), 0, "days from a failed charge to the suspension"),
    Key("cached_is_input", FLAG, False, "cached input costs what input costs, whatever a price lists"),
    Key("slice_tokens", whole(16, 1_000_000), _RULES.slice_tokens, "output tokens a stream holds money for at a time"),
    _usd("lease_usd", _RULES.lease_nanos, "0.01", "money one process sets aside for an account at a time"),
    Key(
        "hold_wait_seconds",
        whole(0, 60),
        _RULES.hold_wait_seconds,
        "how long a request waits for money that others hold",
    ),
    Key("ttl_seconds", whole(2, 3_600), _RULES.ttl_seconds, "after so long without a commit a process admits nothing"),
    Key("drain_seconds", whole(1, 3_600), _RULES.drain_seconds, "and after so much longer it ends what still runs"),
    Key("fleet", choice(SIMULATED, REPORTED), REPORTED, "deployments' replicas: reported, or simulated for trying out"),
    Key("replica_ready_seconds", whole(0, 86_400), _RULES.replica_ready_seconds, "a simulated replica's start takes"),
    Key(
        "deployment_slice_seconds",
        whole(10, 86_400),
        _RULES.deployment_slice_seconds,
        "running deployments hold money for so long ahead",
    ),
    Key(
        "deployment_warning_seconds",
        whole(0, 604_800),
        _RULES.deployment_warning_seconds,
        "so long before the money for a deployment ends its account is warned",
    ),
    Key("requests_per_minute", RATE, _RULES.requests_per_minute, "of an account with a payment method", RATE_LIMITS),
    Key("requests_per_minute_unverified", RATE, _UNVERIFIED, "of an account without one", RATE_LIMITS),
    Key("wrong_keys_per_minute", RATE, _RULES.wrong_keys_per_minute, "of a network address, in a process", RATE_LIMITS),
    Key(
        "prompt_tokens_per_minute", _RATE, None, f"where a model's limit of prompt tokens {_STARTS}", RATE_LIMITS, _NONE
    ),
    Key(
        "uncached_prompt_tokens_per_minute",
        _RATE,
        None,
        f"where that of those not in cache {_STARTS}",
        RATE_LIMITS,
        _NONE,
    ),
    Key("generated_tokens_per_minute", _RATE, None, f"where that of generated tokens {_STARTS}", RATE_LIMITS, _NONE),
    Key("spend_usd", usd("0", _MOST_USD), REQUIRED, "past spend the tier holds from; the first's is 0", TIERS),
    Key("limit_usd", usd("0", "999999999", whole_dollars=True), REQUIRED, "most a month may cost in this tier", TIERS),
    Key("name", text(200), REQUIRED, "what customers call the model", MODELS),
    Key("upstream", UPSTREAMS, REQUIRED, "base URL of its server, or a list of them to take turns", MODELS),
    Key("engine", choice(*ENGINES), "vllm", "what the server is: which cap field and stream options it takes", MODELS),
    Key("upstream_model", text(200), None, "what the server calls the model", MODELS, "`name`"),
    Key("upstream_key", VARIABLE_NAME, None, "the variable that holds the server's API key", MODELS, "no key is sent"),
    Key("context_tokens", TOKENS, REQUIRED, "tokens of prompt and answer together", MODELS),
    Key("max_output_tokens", TOKENS, None, "most tokens of one answer", MODELS, "`context_tokens`"),
    Key("tokens_per_byte", whole(1, 16), 1, "most tokens one byte of a prompt can become", MODELS),
    Key("fit", choice(FIT, REFUSE), FIT, "an answer too long for the money left is capped, or refused", MODELS),
    Key("timeout_seconds", whole(1, 86_400), None, "its longest silence", MODELS, "`upstream_timeout_seconds`"),
    Key("size", choice(SMALL, MEDIUM, LARGE), LARGE, "its token limits grow to 60, 12 or 6 times their start", MODELS),
    Key("price", PRICE, None, "dollars per million tokens, until `purser prices` changes them", MODELS, "none"),
)


SAMPLES: dict[str, object] = {  # of keys without a default
    "clock_start": "2026-03-01T00:00:00Z",
    "prepaid_from": "2026-03-01T00:00:00Z",
    "mail_url": "smtp://127.0.0.1:25",
    "prompt_tokens_per_minute": 3_600_000,
    "uncached_prompt_tokens_per_minute": 900_000,
    "generated_tokens_per_minute": 36_000,
    "public_url": "http://127.0.0.1:8080",
    "oidc_issuer": "https://login.example.com",
}


def keys_of(table: str) -> dict[str, Key]:
    """The keys of one table by name; "" is the top of the file."""
    return {key.name: key for key in KEYS if key.table == table}


def reference() -> str:
    """The keys as the Markdown table of docs/configuration.md."""
    rows = ["| key | it must be | default | meaning | environment |", "|---|---|---|---|---|"]
    for key in KEYS:
        if key.default is REQUIRED:
            default = "required"
        else:
            default = key.otherwise or "–" if key.default is None else f"`{written(key.default)}`"
        name = f"`{key.path}`" if key.in_file else f"{key.path} (not in the file)"
        variable = f"`{key.variable}`" if key.variable else "–"
        rows.append(f"| {name} | {key.kind.words} | {default} | {key.meaning} | {variable} |")
    return "\n".join(rows) + "\n"
