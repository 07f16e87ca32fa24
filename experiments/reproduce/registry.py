"""All studies, in the order of the report. To add one, write its file in `studies` and name it here."""

from experiments.reproduce.studies import (
    accuracy,
    choice,
    claims,
    depth,
    factors,
    heads,
    lengths,
    mechanism_cost,
    mechanisms,
    readouts,
    roc,
    selection,
    settings,
    speed,
    steps,
)
from experiments.reproduce.study import Study

STUDIES: tuple[Study, ...] = (
    settings.STUDY,
    accuracy.STUDY,
    roc.STUDY,
    selection.STUDY,
    heads.STUDY,
    lengths.STUDY,
    mechanisms.STUDY,
    mechanism_cost.STUDY,
    claims.STUDY,
    readouts.STUDY,
    choice.STUDY,
    depth.STUDY,
    steps.STUDY,
    factors.STUDY,
    speed.STUDY,
)
