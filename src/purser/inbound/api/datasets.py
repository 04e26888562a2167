"""Records of an account's datasets, as the compatible API has them; how many tokens one has is what its owner says."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NoReturn

import msgspec
from litestar import Response
from litestar.params import JSONBody
from msgspec import UNSET, Meta, UnsetType

from purser.core.errors import Invalid
from purser.core.records import DATASETS
from purser.flows import records as flow
from purser.inbound.api import records
from purser.inbound.api.auth import MAKER, MEMBER
from purser.inbound.api.call import Call
from purser.inbound.api.once import DryRun, once
from purser.inbound.api.records import Filter, OrderBy, ReadMask, StatusView
from purser.inbound.api.routes import delete, get, patch, post
from purser.inbound.api.wire import Compatible, Empty, Name, PageSize, PageToken, Text, View
from purser.store.writers import Tx

_PATH = "/v1/accounts/{account:str}/datasets"
_ONE = _PATH + "/{dataset:str}"
_Line = Annotated[str, Meta(max_length=2_000)]


class Splitted(Compatible):
    """Of which dataset it is a part."""

    source_dataset_id: _Line


class Transformed(Compatible):
    """From which dataset it was made, and in which format that was."""

    source_dataset_id: _Line
    original_format: Literal["FORMAT_UNSPECIFIED", "CHAT", "COMPLETION", "RL"] | UnsetType | None = UNSET


class EvaluationResult(Compatible):
    """Of which evaluation it is the result."""

    evaluation_job_id: _Line


class AboutDataset(msgspec.Struct, rename="camel", kw_only=True):
    """What is said of a dataset."""

    display_name: Text | UnsetType | None = UNSET
    format: str | UnsetType | None = UNSET
    example_count: str | int | UnsetType | None = UNSET
    estimated_token_count: str | int | UnsetType | None = UNSET
    eval_protocol: dict[str, Any] | UnsetType | None = UNSET
    evaluation_result: EvaluationResult | UnsetType | None = UNSET
    external_url: _Line | UnsetType | None = UNSET
    source_dataset_id: _Line | UnsetType | None = UNSET
    source_job_name: _Line | UnsetType | None = UNSET
    splitted: Splitted | UnsetType | None = UNSET
    transformed: Transformed | UnsetType | None = UNSET
    user_uploaded: dict[str, Any] | UnsetType | None = UNSET


class DatasetFields(AboutDataset, Compatible):
    """What is written down of a dataset; null takes a field away, what is not given stays.

    `exampleCount` and `estimatedTokenCount` are int64 strings.
    """


class NewDataset(Compatible):
    """A record to make of a dataset; `sourceDatasetId` is the one it was made from."""

    dataset_id: str | None = None
    dataset: DatasetFields | None = None
    source_dataset_id: _Line | UnsetType = UNSET


class DatasetView(AboutDataset, View, kw_only=True):
    """A record of a dataset, which is `READY` from the start; `createdBy` is who made it, empty for the operator."""

    name: str
    id: str | UnsetType = UNSET
    state: str | UnsetType = UNSET
    status: StatusView | UnsetType = UNSET
    created_by: str | UnsetType = UNSET
    create_time: str | UnsetType = UNSET
    update_time: str | UnsetType = UNSET


class DatasetList(View):
    """A page of records of datasets."""

    datasets: list[DatasetView]
    next_page_token: str
    total_size: int


@get(_PATH, MEMBER)
def list_datasets(
    request: Call,
    account: Name,
    page_size: PageSize = None,
    page_token: PageToken = None,
    filter: Filter = None,
    order_by: OrderBy = None,
    read_mask: ReadMask = None,
) -> DatasetList:
    """List the records of an account's datasets, newest first."""
    return DatasetList(
        *records.list_page(
            request, account, DATASETS, DatasetView, page_size, page_token, filter, order_by, mask=read_mask
        )
    )


@post(_PATH, MAKER)
def create_dataset(
    request: Call, account: Name, data: JSONBody[NewDataset], dry_run: DryRun = False
) -> Response[DatasetView]:
    """Make a record of a dataset. It costs nothing, and nothing is uploaded: say how many tokens it has."""
    id_ = data.dataset_id
    if id_ is None:
        raise Invalid('datasetId is missing: give it beside the dataset, such as {"datasetId": "d"}', field="datasetId")
    given = records.given(data.dataset)
    if data.source_dataset_id is not UNSET:
        given["sourceDatasetId"] = data.source_dataset_id

    def create(tx: Tx) -> DatasetView:
        flow.create(tx, account, DATASETS, id_, given, records.maker(request))
        return records.view(tx.conn, flow.require(tx.conn, account, DATASETS, id_), DatasetView)

    return once(request, create, dry_run=dry_run)


@get(_ONE, MEMBER)
def get_dataset(request: Call, account: Name, dataset: Name, read_mask: ReadMask = None) -> DatasetView:
    """Get a record of a dataset."""
    return records.read(request, account, DATASETS, dataset, DatasetView, read_mask)


@patch(_ONE, MAKER)
def update_dataset(
    request: Call, account: Name, dataset: Name, data: JSONBody[DatasetFields], dry_run: DryRun = False
) -> Response[DatasetView]:
    """Change a record of a dataset; without the role user or admin, one's own."""

    def change(tx: Tx) -> DatasetView:
        flow.update(tx, account, DATASETS, dataset, records.given(data), records.only_of(request))
        return records.view(tx.conn, flow.require(tx.conn, account, DATASETS, dataset), DatasetView)

    return once(request, change, dry_run=dry_run)


@delete(_ONE, MAKER)
def delete_dataset(request: Call, account: Name, dataset: Name, dry_run: DryRun = False) -> Response[Empty]:
    """Delete a record of a dataset; without the role user or admin, one's own. Its id may be used again."""

    def remove(tx: Tx) -> Empty:
        flow.remove(tx, account, DATASETS, dataset, records.only_of(request))
        return Empty()

    return once(request, remove, dry_run=dry_run)


# ── what records have nothing to do with ─────────────────────────────────────────────────────────────────────────
@post(_ONE + "/:getUploadEndpoint", MAKER, refuses=(501,), changes_nothing=True)
def get_dataset_upload_endpoint(request: Call, account: Name, dataset: Name) -> NoReturn:
    """Answer that no dataset is uploaded here: these are records."""
    records.refuse(DATASETS, "uploading a dataset")


@post(_ONE + "/:upload", MAKER, refuses=(501,), changes_nothing=True)
def upload_dataset(request: Call, account: Name, dataset: Name) -> NoReturn:
    """Answer that no dataset is uploaded here: these are records."""
    records.refuse(DATASETS, "uploading a dataset")


@post(_ONE + "/:validateUpload", MAKER, refuses=(501,), changes_nothing=True)
def validate_dataset_upload(request: Call, account: Name, dataset: Name) -> NoReturn:
    """Answer that no dataset is uploaded here: these are records."""
    records.refuse(DATASETS, "uploading a dataset")


@get(_ONE + "/:getDownloadEndpoint", MEMBER, refuses=(501,))
def get_dataset_download_endpoint(request: Call, account: Name, dataset: Name) -> NoReturn:
    """Answer that no dataset is downloaded from here: these are records."""
    records.refuse(DATASETS, "downloading a dataset")


ROUTES = [
    list_datasets,
    create_dataset,
    get_dataset,
    update_dataset,
    delete_dataset,
    get_dataset_upload_endpoint,
    upload_dataset,
    validate_dataset_upload,
    get_dataset_download_endpoint,
]
