"""Compares the facts of all arrays with the manifests and the model's limits, by column.

Only faults become objects, so a clean set of 150,000 pairs costs a few comparisons.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from unbroken_tts.data.array_facts import FLOAT32, INT32
from unbroken_tts.data.faults import FaultKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    from unbroken_tts.data.limits import Limits
    from unbroken_tts.data.pairs import Pairs

_TYPE_NAMES = {INT32: "int32", FLOAT32: "float32"}

Found = tuple[int, FaultKind, str]
"""Index of the sample, kind, detail without the path."""


def check_ids(
    facts: npt.NDArray[Any],
    promised: npt.NDArray[np.int64],
    *,
    field: str,
    bound: int,
    longest: int,
    outside: FaultKind,
) -> Iterator[Found]:
    """Check text ids or codes: int32 [length] in [0, bound), with the length in the manifest.

    Args:
        facts: (N,) facts of the samples' arrays; rows without facts are skipped.
        promised: (N,) lengths from the manifest, in tokens.
        field: The manifest's name of that length.
        bound: First id that is not allowed.
        longest: Largest allowed length, in tokens.
        outside: The kind of fault for an id out of bounds.
    """
    known = facts["type"] != 0
    is_int = known & (facts["type"] == INT32)
    yield from _each(
        known & ~is_int,
        FaultKind.WRONG_DTYPE,
        lambda i: f"must be int32, but is {_type(facts[i])}",
    )
    is_flat = is_int & (facts["dimensions"] == 1) & (facts["rows"] > 0)
    yield from _each(
        is_int & ~is_flat,
        FaultKind.WRONG_SHAPE,
        lambda i: f"must be [length] with at least one id, but is {_shape(facts[i])}",
    )
    yield from _each(
        is_flat & (facts["rows"] != promised),
        FaultKind.WRONG_LENGTH,
        lambda i: f"`{field}` is {promised[i]}, but the array has {facts[i]['rows']} ids",
    )
    yield from _each(
        is_flat & (facts["rows"] > longest),
        FaultKind.TOO_LONG,
        lambda i: f"has {facts[i]['rows']} ids, but the model's position table ends at {longest}",
    )
    yield from _each(
        is_flat & ((facts["minimum"] < 0) | (facts["maximum"] >= bound)),
        outside,
        lambda i: (
            f"must be within 0..{bound - 1}, but spans "
            f"{facts[i]['minimum']:.0f}..{facts[i]['maximum']:.0f}"
        ),
    )


def check_no_control(facts: npt.NDArray[Any], first: int) -> Iterator[Found]:
    """Check that texts contain no start, stop or other control id, which are below `first`."""
    is_text = (facts["type"] == INT32) & (facts["dimensions"] == 1) & (facts["rows"] > 0)
    yield from _each(
        is_text & (facts["minimum"] >= 0) & (facts["minimum"] < first),
        FaultKind.CONTROL_ID,
        lambda i: (
            f"contains the id {facts[i]['minimum']:.0f}, which starts or stops a text; "
            f"ids of texts begin at {first}"
        ),
    )


def check_languages(
    facts: npt.NDArray[Any], named: tuple[str, ...], limits: Limits
) -> Iterator[Found]:
    """Check that texts of IndexTTS-2.5 begin with the token of the language that their line names.

    The model takes the language from there. Any id is one of the vocabulary, so nothing else would
    notice texts without such a token.
    """
    if not limits.languages:
        return
    is_text = (facts["type"] == INT32) & (facts["dimensions"] == 1) & (facts["rows"] > 0)
    language = facts["first"] - limits.first_language_id
    is_one = (language >= 0) & (language < len(limits.languages))
    yield from _each(
        is_text & ~is_one,
        FaultKind.NO_LANGUAGE,
        lambda i: (
            f"begins with the id {facts[i]['first']:.0f}, which is no language token; prepare it with "
            "--front indextts-2.5"
        ),
    )
    numbers = {name: number for number, name in enumerate(limits.languages)}
    wanted = np.array([numbers.get(name, -1) for name in named])
    yield from _each(
        is_text & is_one & (wanted >= 0) & (language != wanted),
        FaultKind.OTHER_LANGUAGE,
        lambda i: (
            f"begins with the token of {limits.languages[int(language[i])]}, but its line says "
            f"{named[i]}"
        ),
    )


def check_floats(facts: npt.NDArray[Any], shape: tuple[int, ...]) -> Iterator[Found]:
    """Check conditioning or emotion vectors: float32 of exactly this shape, all finite."""
    known = facts["type"] != 0
    is_float = known & (facts["type"] == FLOAT32)
    yield from _each(
        known & ~is_float,
        FaultKind.WRONG_DTYPE,
        lambda i: f"must be float32, but is {_type(facts[i])}",
    )
    rows, columns = (*shape, 1)[:2]
    has_shape = (
        (facts["dimensions"] == len(shape))
        & (facts["rows"] == rows)
        & (facts["columns"] == columns)
    )
    yield from _each(
        is_float & ~has_shape,
        FaultKind.WRONG_SHAPE,
        lambda i: f"must be {list(shape)}, but is {_shape(facts[i])}",
    )
    yield from _each(
        is_float & (facts["finite"] == 0),
        FaultKind.NON_FINITE,
        lambda i: (
            f"spans {facts[i]['minimum']}..{facts[i]['maximum']}, so it contains NaN or infinity"
        ),
    )


def check_roles(
    pairs: Pairs, facts_by_role: dict[str, npt.NDArray[Any]], limits: Limits
) -> Iterator[tuple[str, Found]]:
    """Check the arrays of all four roles; yield each finding with its role."""
    findings = {
        "text_paths": chain(
            check_ids(
                facts_by_role["text_paths"],
                pairs.text_lengths,
                field="target_text_len",
                bound=limits.vocabulary,
                longest=limits.longest_text,
                outside=FaultKind.OUTSIDE_VOCABULARY,
            ),
            check_no_control(facts_by_role["text_paths"], limits.first_text_id),
            check_languages(facts_by_role["text_paths"], pairs.languages, limits),
        ),
        "code_paths": check_ids(
            facts_by_role["code_paths"],
            pairs.code_lengths,
            field="target_code_len",
            bound=limits.start_mel_token,
            longest=limits.longest_codes,
            outside=FaultKind.OUTSIDE_CODE_BOOK,
        ),
        "condition_paths": check_floats(facts_by_role["condition_paths"], limits.condition_shape),
        "emo_paths": check_floats(facts_by_role["emo_paths"], (limits.model_dim,)),
    }
    for role, found in findings.items():
        for finding in found:
            yield role, finding


def check_identities(pairs: Pairs) -> Iterator[Found]:
    """Find duplicate pair ids (the later line is at fault) and prompts that are targets."""
    if len(set(pairs.ids)) != len(pairs):
        first: dict[str, int] = {}
        for index, pair_id in enumerate(pairs.ids):
            earlier = first.setdefault(pair_id, index)
            if earlier != index:
                detail = f"the id is already used at {pairs.where(earlier)}"
                yield index, FaultKind.DUPLICATE_ID, detail
    for index, (target, prompt) in enumerate(zip(pairs.target_ids, pairs.prompt_ids, strict=True)):
        if target == prompt:
            detail = f"`prompt_id` and `target_id` are both {target!r}"
            yield index, FaultKind.PROMPT_IS_TARGET, detail


def _each(
    faulty: npt.NDArray[np.bool_], kind: FaultKind, detail: Callable[[int], str]
) -> Iterator[Found]:
    for index in np.flatnonzero(faulty).tolist():
        yield index, kind, detail(index)


def _type(facts: Any) -> str:
    return _TYPE_NAMES[int(facts["type"])]


def _shape(facts: Any) -> str:
    shape = [int(facts["rows"]), int(facts["columns"])]
    return str(shape[: int(facts["dimensions"])])
