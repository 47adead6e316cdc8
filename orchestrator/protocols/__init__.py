"""The seams of matloop: what spaces, strategies, surrogates, drivers and executors must offer, and what else they may.

What a part may offer beyond the least is a runtime-checkable Protocol of its own, asked for with `isinstance`; its
docstring says who offers it and what happens without. All of them can be imported from here.
"""

from matloop.orchestrator.protocols.drivers import (
    ByPeople,
    ContinuingDriver,
    Driver,
    Guiding,
    accepts_inputs,
    is_by_people,
)
from matloop.orchestrator.protocols.executors import WithQueue, WithSlots
from matloop.orchestrator.protocols.spaces import (
    Array,
    Column,
    ColumnKind,
    Composed,
    Encodable,
    Evolvable,
    Finite,
    Labelled,
    Lenient,
    Parameter,
    Parametric,
    Parts,
    Rendering,
    Space,
    Vectorised,
    require,
)
from matloop.orchestrator.protocols.strategies import (
    Slow,
    Strategy,
    WithFiller,
    WithMaker,
    WithOutlook,
    filler_of,
    is_slow,
    maker_of,
)
from matloop.orchestrator.protocols.surrogates import (
    DrawsFunctions,
    DrawsModels,
    Featured,
    NoiseAware,
    Redrawable,
    Stepped,
    Surrogate,
)

__all__ = [
    "Array",
    "ByPeople",
    "Column",
    "ColumnKind",
    "Composed",
    "ContinuingDriver",
    "DrawsFunctions",
    "DrawsModels",
    "Driver",
    "Encodable",
    "Evolvable",
    "Featured",
    "Finite",
    "Guiding",
    "Labelled",
    "Lenient",
    "NoiseAware",
    "Parameter",
    "Parametric",
    "Parts",
    "Redrawable",
    "Rendering",
    "Slow",
    "Space",
    "Stepped",
    "Strategy",
    "Surrogate",
    "Vectorised",
    "WithFiller",
    "WithMaker",
    "WithOutlook",
    "WithQueue",
    "WithSlots",
    "accepts_inputs",
    "filler_of",
    "is_by_people",
    "is_slow",
    "maker_of",
    "require",
]
