"""Records of an account's models, as the compatible API has them; what is served is listed at /v1/models instead."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NoReturn

import msgspec
from litestar import Response
from litestar.params import JSONBody
from msgspec import UNSET, Meta, UnsetType

from purser.core.errors import Invalid
from purser.core.records import MODELS
from purser.flows import records as flow
from purser.inbound.api import records
from purser.inbound.api.auth import MAKER, MEMBER
from purser.inbound.api.call import Call
from purser.inbound.api.once import DryRun, once
from purser.inbound.api.records import Filter, OrderBy, ReadMask, StatusView
from purser.inbound.api.routes import delete, get, patch, post
from purser.inbound.api.wire import Compatible, Empty, Name, PageSize, PageToken, Text, View
from purser.store.writers import Tx

_PATH = "/v1/accounts/{account:str}/models"
_ONE = _PATH + "/{model:str}"
_Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]
_Line = Annotated[str, Meta(max_length=2_000)]
_Flag = bool | UnsetType | None
_Precision = Literal[
    "PRECISION_UNSPECIFIED",
    "FP16",
    "FP8",
    "FP8_MM",
    "FP8_AR",
    "FP8_MM_KV_ATTN",
    "FP8_KV",
    "FP8_MM_V2",
    "FP8_V2",
    "FP8_MM_KV_ATTN_V2",
    "NF4",
    "FP4",
    "BF16",
    "FP4_BLOCKSCALED_MM",
    "FP4_MX_MOE",
]


class BaseModelDetails(Compatible):
    """What a base model is; `parameterCount` is an int64 string."""

    checkpoint_format: (
        Literal["CHECKPOINT_FORMAT_UNSPECIFIED", "NATIVE", "HUGGINGFACE", "UNINITIALIZED"] | UnsetType | None
    ) = UNSET
    default_precision: _Precision | UnsetType | None = UNSET
    model_type: _Line | UnsetType | None = UNSET
    moe: _Flag = UNSET
    parameter_count: Annotated[str, Meta(pattern="^[0-9]{1,19}$")] | UnsetType | None = UNSET
    supports_fireattention: _Flag = UNSET
    supports_mtp: _Flag = UNSET
    tunable: _Flag = UNSET
    world_size: _Count | UnsetType | None = UNSET


class PeftDetails(Compatible):
    """What an adapter changes of which base model; `r` is the rank of its matrices."""

    base_model: _Line
    r: Annotated[int, Meta(ge=4, le=64)]
    target_modules: list[_Line]
    base_model_type: _Line | UnsetType | None = UNSET
    merge_addon_model_name: _Line | UnsetType | None = UNSET


class ConversationConfig(Compatible):
    """How chats become prompts."""

    style: _Line
    system: str | UnsetType | None = UNSET
    template: str | UnsetType | None = UNSET


class DateFields(Compatible):
    """A date, of which a part that is 0 is left open."""

    year: Annotated[int, Meta(ge=0, le=9999)] = 0
    month: Annotated[int, Meta(ge=0, le=12)] = 0
    day: Annotated[int, Meta(ge=0, le=31)] = 0


class AboutModel(msgspec.Struct, rename="camel", kw_only=True):
    """What is said of a model."""

    kind: str | UnsetType | None = UNSET
    display_name: Text | UnsetType | None = UNSET
    description: Annotated[str, Meta(max_length=999)] | UnsetType | None = UNSET
    base_model_details: BaseModelDetails | UnsetType | None = UNSET
    context_length: _Count | UnsetType | None = UNSET
    conversation_config: ConversationConfig | UnsetType | None = UNSET
    default_draft_model: _Line | UnsetType | None = UNSET
    default_draft_token_count: _Count | UnsetType | None = UNSET
    deprecation_date: DateFields | UnsetType | None = UNSET
    github_url: _Line | UnsetType | None = UNSET
    hugging_face_url: _Line | UnsetType | None = UNSET
    peft_details: PeftDetails | UnsetType | None = UNSET
    public: _Flag = UNSET
    snapshot_type: Literal["FULL_SNAPSHOT", "INCREMENTAL_SNAPSHOT"] | UnsetType | None = UNSET
    supports_image_input: _Flag = UNSET
    supports_lora: _Flag = UNSET
    supports_tools: _Flag = UNSET
    teft_details: dict[str, Any] | UnsetType | None = UNSET
    training_context_length: _Count | UnsetType | None = UNSET
    use_hf_apply_chat_template: _Flag = UNSET


class ModelFields(AboutModel, Compatible):
    """What is written down of a model; null takes a field away, what is not given stays."""


class NewModel(Compatible):
    """A record to make of a model."""

    model_id: str | None = None
    model: ModelFields | None = None


class ModelView(AboutModel, View, kw_only=True):
    """A record of a model, which is `READY` from the start; `createdBy` is who made it, empty for the operator."""

    name: str
    id: str | UnsetType = UNSET
    state: str | UnsetType = UNSET
    status: StatusView | UnsetType = UNSET
    created_by: str | UnsetType = UNSET
    create_time: str | UnsetType = UNSET
    update_time: str | UnsetType = UNSET


class ModelList(View):
    """A page of records of models."""

    models: list[ModelView]
    next_page_token: str
    total_size: int


@get(_PATH, MEMBER)
def list_models(
    request: Call,
    account: Name,
    page_size: PageSize = None,
    page_token: PageToken = None,
    filter: Filter = None,
    order_by: OrderBy = None,
    read_mask: ReadMask = None,
) -> ModelList:
    """List the records of an account's models, newest first."""
    return ModelList(
        *records.list_page(request, account, MODELS, ModelView, page_size, page_token, filter, order_by, mask=read_mask)
    )


@post(_PATH, MAKER)
def create_model(
    request: Call, account: Name, data: JSONBody[NewModel], dry_run: DryRun = False
) -> Response[ModelView]:
    """Make a record of a model. It costs nothing, and nothing is uploaded."""
    id_ = data.model_id
    if id_ is None:
        raise Invalid('modelId is missing: give it beside the model, such as {"modelId": "mine"}', field="modelId")

    def create(tx: Tx) -> ModelView:
        flow.create(tx, account, MODELS, id_, records.given(data.model), records.maker(request))
        return records.view(tx.conn, flow.require(tx.conn, account, MODELS, id_), ModelView)

    return once(request, create, dry_run=dry_run)


@get(_ONE, MEMBER)
def get_model(request: Call, account: Name, model: Name, read_mask: ReadMask = None) -> ModelView:
    """Get a record of a model."""
    return records.read(request, account, MODELS, model, ModelView, read_mask)


@patch(_ONE, MAKER)
def update_model(
    request: Call, account: Name, model: Name, data: JSONBody[ModelFields], dry_run: DryRun = False
) -> Response[ModelView]:
    """Change a record of a model; without the role user or admin, one's own."""

    def change(tx: Tx) -> ModelView:
        flow.update(tx, account, MODELS, model, records.given(data), records.only_of(request))
        return records.view(tx.conn, flow.require(tx.conn, account, MODELS, model), ModelView)

    return once(request, change, dry_run=dry_run)


@delete(_ONE, MAKER)
def delete_model(request: Call, account: Name, model: Name, dry_run: DryRun = False) -> Response[Empty]:
    """Delete a record of a model; without the role user or admin, one's own. Its id may be used again."""

    def remove(tx: Tx) -> Empty:
        flow.remove(tx, account, MODELS, model, records.only_of(request))
        return Empty()

    return once(request, remove, dry_run=dry_run)


# ── what records have nothing to do with ─────────────────────────────────────────────────────────────────────────
@post(_ONE + "/:getUploadEndpoint", MAKER, refuses=(501,), changes_nothing=True)
def get_model_upload_endpoint(request: Call, account: Name, model: Name) -> NoReturn:
    """Answer that no model is uploaded here: these are records."""
    records.refuse(MODELS, "uploading a model")


@get(_ONE + "/:getDownloadEndpoint", MEMBER, refuses=(501,))
def get_model_download_endpoint(request: Call, account: Name, model: Name) -> NoReturn:
    """Answer that no model is downloaded from here: these are records."""
    records.refuse(MODELS, "downloading a model")


@get(_ONE + "/:validateUpload", MEMBER, refuses=(501,))
def validate_model_upload(request: Call, account: Name, model: Name) -> NoReturn:
    """Answer that no model is uploaded here: these are records."""
    records.refuse(MODELS, "uploading a model")


@post(_ONE + "/:prepare", MAKER, refuses=(501,), changes_nothing=True)
def prepare_model(request: Call, account: Name, model: Name) -> NoReturn:
    """Answer that no model is prepared here: these are records."""
    records.refuse(MODELS, "preparing a model")


ROUTES = [
    list_models,
    create_model,
    get_model,
    update_model,
    delete_model,
    get_model_upload_endpoint,
    get_model_download_endpoint,
    validate_model_upload,
    prepare_model,
]
