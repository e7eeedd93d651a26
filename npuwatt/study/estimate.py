"""One request on one device, op by op and level by level."""

from __future__ import annotations

from typing import Unpack

from npuwatt.record import Record
from npuwatt.study.compare import Answer, compare
from npuwatt.study.phases import PhaseTable
from npuwatt.study.question import Options, Question


class Estimate(Record):
    """A request on one device, taken apart."""

    question: Question
    answer: Answer

    @property
    def phases(self) -> tuple[PhaseTable, ...]:
        """The answer op by op."""
        return self.answer.phases


def estimate(name: str, **options: Unpack[Options]) -> Estimate:
    """What each op of a request costs on one device, as `npuwatt.study.phases.phases_of` says.

    Parameters
    ----------
    name
        A device by preset name, alias or path.
    **options
        As for `npuwatt.compare`.

    Raises
    ------
    NpuwattError
        Something asked for does not exist or cannot be computed; its text says what would.
    """
    comparison = compare([name], **options)
    return Estimate(question=comparison.question, answer=comparison.answers[0])
