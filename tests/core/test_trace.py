"""Traces: the three formats as written, and every way a row can be wrong, with its file and line."""

from __future__ import annotations

import json

import pytest

from purser.core.errors import Invalid
from purser.core.period import parse_instant
from purser.core.trace import (
    AZURE,
    BURSTGPT,
    LARGEST_TOKENS,
    LONGEST_LINE,
    MOONCAKE,
    TraceRow,
    cached_tokens,
    merge,
    read_trace,
    survey,
)

AZURE_HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens"
BURST_HEADER = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type"


def rows(text: str | bytes, format_: str) -> list[TraceRow]:
    data = text if isinstance(text, bytes) else text.encode()
    return list(read_trace(data.splitlines(keepends=True), format_, "day.trace"))


def azure(*lines: str) -> str:
    return "\r\n".join([AZURE_HEADER, *lines])


def mooncake(**changes: object) -> str:
    row: dict[str, object] = {"timestamp": 27482, "input_length": 6955, "output_length": 52, "hash_ids": [46, 47]}
    row.update(changes)
    return json.dumps({name: value for name, value in row.items() if value != "absent"})


def test_azure_rows_have_crlf_ends_and_seven_digits_of_a_second() -> None:
    text = azure("2023-11-16 18:15:46.6805900,374,44", "2023-11-16 18:15:50.9951699,396,109")
    assert rows(text, AZURE) == [
        TraceRow(parse_instant("2023-11-16T18:15:46.680590Z"), 374, 44),
        TraceRow(parse_instant("2023-11-16T18:15:50.995169Z"), 396, 109),
    ]


@pytest.mark.parametrize(
    "time, same_as",
    [
        ("2024-05-12 00:00:00.001163+00:00", "2024-05-12T00:00:00.001163Z"),
        ("2024-05-12 02:00:00+02:00", "2024-05-12T00:00:00Z"),
        ("2024-05-12T00:00:00.5Z", "2024-05-12T00:00:00.500Z"),
        ("2024-05-12 00:00:00.123456789", "2024-05-12T00:00:00.123456Z"),
    ],
)
def test_other_ways_to_write_the_time(time: str, same_as: str) -> None:
    assert rows(azure(f"{time},1,0"), AZURE) == [TraceRow(parse_instant(same_as), 1, 0)]


def test_columns_may_stand_in_any_order_after_a_byte_order_mark_and_blank_lines_are_nothing() -> None:
    text = "\ufeffGeneratedTokens,TIMESTAMP,ContextTokens\n\n44,2023-11-16 18:15:46,374\n\n"
    assert rows(text, AZURE) == [TraceRow(parse_instant("2023-11-16T18:15:46Z"), 374, 44)]


def test_burstgpt_rows_count_seconds_and_may_have_more_columns() -> None:
    text = f"{BURST_HEADER}\n5,ChatGPT,472,18,490,Conversation log\n45.25,GPT-4,1087,230,1317,API log\n"
    assert rows(text, BURSTGPT) == [TraceRow(5_000_000, 472, 18), TraceRow(45_250_000, 1087, 230)]


def test_mooncake_rows_count_milliseconds_name_their_blocks_and_blank_lines_are_nothing() -> None:
    text = mooncake() + "\n \n" + mooncake(timestamp=27482.5, hash_ids=[]) + "\n"
    assert rows(text, MOONCAKE) == [TraceRow(27_482_000, 6955, 52, (46, 47)), TraceRow(27_482_500, 6955, 52)]


AT = "2023-11-16 18:15:46.6805900"
WRONG = [
    # format, text, line (0: the file as a whole), what the message says
    (AZURE, b"", 0, "is empty; an azure trace starts with"),
    (AZURE, b"\r\n\r\n", 0, "is empty"),
    (AZURE, azure().encode(), 0, "no requests"),
    (AZURE, b"time,in,out\n1,2,3\n", 1, "lacks the column 'TIMESTAMP'"),
    (AZURE, f"{AT},374,44\r\n".encode(), 1, "lacks the column 'TIMESTAMP'"),
    (AZURE, f"{AZURE_HEADER},ContextTokens\n{AT},1,2,3\n".encode(), 1, "repeats the column 'ContextTokens'"),
    (AZURE, azure(f"{AT},374,44", f"{AT},374").encode(), 3, "the column 'GeneratedTokens' is missing"),
    (AZURE, azure(f"{AT},374,44,1").encode(), 2, "4 columns, but the header has 3"),
    (AZURE, azure(f"{AT},many,44").encode(), 2, "ContextTokens is many; it must be a whole number"),
    (AZURE, azure(f"{AT},374.5,44").encode(), 2, "ContextTokens is 374.5"),
    (AZURE, azure(f"{AT},-1,44").encode(), 2, "ContextTokens is -1"),
    (AZURE, azure(f"{AT},374,").encode(), 2, "GeneratedTokens is ; it must be a whole number"),
    (AZURE, azure(f"{AT},374,NaN").encode(), 2, "GeneratedTokens is NaN"),
    (AZURE, azure(f"{AT},374,{LARGEST_TOKENS + 1}").encode(), 2, f"from 0 to {LARGEST_TOKENS}"),
    (AZURE, azure(f"{AT},374,{'9' * 6000}").encode(), 2, f"from 0 to {LARGEST_TOKENS}"),
    (AZURE, azure(f"{AT},٣,44").encode(), 2, "ContextTokens is ٣"),
    (AZURE, azure("yesterday,374,44").encode(), 2, "TIMESTAMP is yesterday; it must be a UTC time such as"),
    (AZURE, azure("2023-11-31 18:15:46,374,44").encode(), 2, "TIMESTAMP is 2023-11-31"),
    (AZURE, azure("2023-11-16 18:15:61,374,44").encode(), 2, "TIMESTAMP is 2023-11-16 18:15:61"),
    (AZURE, azure("1969-12-31 23:59:59,374,44").encode(), 2, "from 1970 on"),
    (AZURE, azure("9999-01-01 00:00:00,374,44").encode(), 2, "TIMESTAMP is 9999"),
    (AZURE, azure(f'"{AT},374,44').encode(), 2, "not CSV"),
    (AZURE, azure().encode() + b"\r\n\xff\xfe,1,2\r\n", 2, "byte 1 (0xff) is not UTF-8"),
    (AZURE, azure().encode() + b"\r\n" + b"1" * (LONGEST_LINE + 1), 2, "longer than"),
    (BURSTGPT, b"Timestamp,Request tokens,Response tokens\n5,1,1\n", 1, "lacks the column 'Model'"),
    (BURSTGPT, f"{BURST_HEADER}\n-5,m,1,1,2,x\n".encode(), 2, "Timestamp is -5; it must be seconds from 0 up"),
    (BURSTGPT, f"{BURST_HEADER}\nnan,m,1,1,2,x\n".encode(), 2, "Timestamp is nan"),
    (BURSTGPT, f"{BURST_HEADER}\n1e5,m,1,1,2,x\n".encode(), 2, "Timestamp is 1e5"),
    (BURSTGPT, f"{BURST_HEADER}\n999999999999999,m,1,1,2,x\n".encode(), 2, "Timestamp is 999999999999999"),
    (MOONCAKE, b"", 0, "a mooncake trace has lines such as"),
    (MOONCAKE, mooncake().encode() + b"\n" + mooncake().encode()[:40], 2, "not a whole JSON object"),
    (MOONCAKE, b"[" * 100_000, 1, "not a whole JSON object"),
    (MOONCAKE, azure(f"{AT},374,44").encode(), 1, "not a whole JSON object"),
    (MOONCAKE, b"[1, 2]\n", 1, "not a JSON object"),
    (MOONCAKE, mooncake(hash_ids="absent").encode(), 1, "'hash_ids' is missing"),
    (MOONCAKE, mooncake(hash_ids="none").encode(), 1, "hash_ids is"),
    (MOONCAKE, mooncake(hash_ids=[1, "2"]).encode(), 1, "hash_ids is"),
    (MOONCAKE, mooncake(hash_ids=[1, True]).encode(), 1, "hash_ids is"),
    (MOONCAKE, mooncake(input_length="6955").encode(), 1, 'input_length is "6955"'),
    (MOONCAKE, mooncake(input_length=True).encode(), 1, "input_length is true"),
    (MOONCAKE, mooncake(input_length=None).encode(), 1, "input_length is null"),
    (MOONCAKE, mooncake(input_length=1.5).encode(), 1, "input_length is 1.5"),
    (MOONCAKE, mooncake(output_length=-1).encode(), 1, "output_length is -1"),
    (MOONCAKE, b'{"timestamp": NaN}\n', 1, "NaN is not a number"),
    (MOONCAKE, mooncake().encode()[:-1] + b', "input_length": 1}', 1, "'input_length' is there twice"),
    (MOONCAKE, mooncake().encode()[:-1] + b', "x": {"y": 1, "y": 2}}', 1, "'y' is there twice"),
    (MOONCAKE, b'{"timestamp": -Infinity}\n', 1, "-Infinity is not a number"),
    (MOONCAKE, mooncake(timestamp="27482").encode(), 1, 'timestamp is "27482"; it must be milliseconds'),
    (MOONCAKE, mooncake().encode().replace(b"27482", b"1e400000000"), 1, "timestamp is 1e400000000"),
    (MOONCAKE, mooncake(timestamp=10**18).encode(), 1, "timestamp is 1000000000000000000"),
]


@pytest.mark.parametrize("format_, text, line, what", WRONG)
def test_a_wrong_row_is_named_with_file_and_line(format_: str, text: bytes, line: int, what: str) -> None:
    with pytest.raises(Invalid) as caught:
        rows(text, format_)
    assert caught.value.message.startswith(f"day.trace, line {line}: " if line else "day.trace: ")
    assert what in caught.value.message
    assert len(caught.value.message) < 400


def test_leading_blocks_that_were_seen_are_cached_and_never_more_than_the_input() -> None:
    assert cached_tokens(TraceRow(0, 1300, 1, (1, 2, 3)), set()) == 0
    assert cached_tokens(TraceRow(0, 1400, 1, (1, 2, 9)), {1, 2, 3}) == 1024
    assert cached_tokens(TraceRow(0, 1300, 1, (1, 2, 3)), {1, 2, 3}) == 1300
    assert cached_tokens(TraceRow(0, 9000, 1, (8, 1, 2)), {1, 2, 3}) == 0
    assert cached_tokens(TraceRow(0, 9000, 1), {1, 2, 3}) == 0


def test_a_late_row_comes_at_the_time_of_the_row_above_it() -> None:
    trace = [TraceRow(10, 1, 0), TraceRow(30, 2, 0), TraceRow(20, 3, 0), TraceRow(40, 4, 0)]
    assert [(row.at, row.input_tokens) for row in merge([trace])] == [(10, 1), (30, 2), (30, 3), (40, 4)]
    assert survey([trace]).late_rows == 1


def test_several_traces_are_one_in_order_of_time() -> None:
    one, other = [TraceRow(10, 1, 5), TraceRow(30, 2, 5)], [TraceRow(5, 3, 5), TraceRow(30, 4, 5), TraceRow(31, 5, 5)]
    assert [row.input_tokens for row in merge([one, other])] == [3, 1, 2, 4, 5]
    found = survey([one, other])
    assert (found.rows, found.first_at, found.input_tokens, found.output_tokens, found.late_rows) == (5, 5, 15, 25, 0)
