"""Numbers, units and titles as people write them: read as they were meant, or refused."""

from __future__ import annotations

import pytest

from matloop.orchestrator.lab.numbers import BY_HAND, Marks, TwoNumbers, Typed, marks_in, number, quantity, typed
from matloop.orchestrator.lab.titles import Meaning, Titles, UnknownTitle, WrongUnit
from matloop.orchestrator.lab.units import same_unit

COMMAS, POINTS, BOTH = (Marks(own=frozenset(marks)) for marks in (",", ".", ",."))
GERMAN = Marks(usual=",")

QUANTITIES = [
    ("1.200", "", COMMAS, (1200, None, None)),
    ("1.200", "", POINTS, (1.2, None, None)),
    ("1,200", "", POINTS, (1200, None, None)),
    ("1,200", "", GERMAN, (1.2, None, None)),
    ("1.200", "", Marks(told=","), (1200, None, None)),
    ("1.200,5", "", POINTS, (1200.5, None, None)),
    ("1,200,000.5", "", COMMAS, (1200000.5, None, None)),
    ("1 200,5", "", BY_HAND, (1200.5, None, None)),
    ("1\u00a0200", "", BY_HAND, (1200, None, None)),
    ("1'200.5", "", BY_HAND, (1200.5, None, None)),
    ("−1,5·10^3", "", BY_HAND, (-1500, None, None)),
    ("1.5×10⁻³", "", BY_HAND, (0.0015, None, None)),
    ("1.5E3", "", BY_HAND, (1500, None, None)),
    ("1,00E-04", "", BY_HAND, (0.0001, None, None)),
    ("10^-4", "", BY_HAND, (0.0001, None, None)),
    ("5 %", "%", BY_HAND, (5, None, None)),
    ("80C", "°C", BY_HAND, (80, None, None)),
    ("0,4 mol L⁻¹", "mol/l", BY_HAND, (0.4, None, None)),
    ("412 ± 6", "HV", BY_HAND, (412, 6, None)),
    ("412 HV +/- 6 HV", "HV", BY_HAND, (412, 6, None)),
    ("(61,5 ± 0,8) %", "%", BY_HAND, (61.5, 0.8, None)),
    ("61.52(8)", "", BY_HAND, (61.52, 0.08, None)),
    ("1.234(5)", "", COMMAS, (1234, 5, None)),
    ("<0,1", "", BY_HAND, (0.1, None, "below")),
    ("≥ 99 %", "%", BY_HAND, (99, None, "above")),
]


@pytest.mark.parametrize(("written", "unit", "marks", "meant"), QUANTITIES)
def test_a_cell_says_a_number_and_what_goes_with_it(written, unit, marks, meant):
    assert quantity(written, unit, marks) == meant


@pytest.mark.parametrize(
    "written",
    [
        "80 K",
        "5 %",
        "~61",
        "61.5 a",
        "12 34",
        "1,2,3",
        "1.2.3,4",
        "--5",
        "nan",
        "1e999",
        "5 ± -1",
        "5 ± 1 ± 1",
        "< 5 ± 1",
        "٣",
        "²",
        "1_0",
        "0x1F",
        "",
        "9" * 200,
        "1.200.5",
    ],
)
def test_what_is_no_number_of_that_unit_is_refused(written):
    with pytest.raises(ValueError, match="expected a number in °C"):
        quantity(written, "°C")


@pytest.mark.parametrize("written", ["5-Mar", "05.03.2026", "2026-03-05", "Mär 05", "3/5/2026"])
def test_a_number_that_became_a_date_is_named_as_such(written):
    with pytest.raises(ValueError, match=r"got the date .* format the cell as text"):
        number(written)


@pytest.mark.parametrize(
    ("written", "marks", "remedies"),
    [
        ("1,412", BY_HAND, ["1412", "1.412"]),
        ("-1.412", GERMAN, ["-1412", "-1.4120"]),
        ("1.200", GERMAN, ["1200", "1.2"]),
        ("1.000", BOTH, ["1000", "1"]),
    ],
)
def test_a_number_that_may_be_two_is_refused_and_both_remedies_work(written, marks, remedies):
    with pytest.raises(TwoNumbers, match=f"write {remedies[0]} or {remedies[1]}$"):
        quantity(written, "", marks)
    assert quantity(remedies[0], "", marks).value == 1000 * quantity(remedies[1], "", marks).value


def test_what_was_told_settles_doubts_and_contradicts_nobody():
    assert quantity("0.35", "", Marks(told=",")).value == 0.35
    assert quantity("1.200", "", Marks(told=",", own=frozenset(",."))).value == 1200
    with pytest.raises(TwoNumbers):
        quantity("1.200", "", Marks(told=",", own=frozenset(".")))


def test_a_column_shows_its_mark_by_what_can_be_read_in_one_way():
    assert marks_in(["1.200", "1200", "x"]) == frozenset()
    assert marks_in(["1.200", "0,35"]) == marks_in(["1.200,5"]) == marks_in(["1.200.000"]) == {","}
    assert marks_in(["412 ± 0.5"]) == {"."} and marks_in(["0,5", "0.5"]) == {",", "."}


def test_numbers_that_programs_keep_are_exact():
    assert typed(Typed(0.1 + 0.2), "°C") == 0.1 + 0.2
    assert typed(Typed(0.07, percent=True), "wt%") == 7.0 and Typed(0.07, percent=True).text == "7.00 %"
    with pytest.raises(ValueError, match=r"got 61.50* % \(a cell in percent\); format the cell as a number"):
        typed(Typed(0.615, percent=True), "")


SAME = {
    "mol/l": ["mol/L", "mol L-1", "mol·L⁻¹", "mol l^-1", "M", "mol per liter", "[mol/L]"],
    "wt%": ["wt.-%", "wt %", "mass %", "Gew.-%", "% (w/w)", "(wt%)"],
    "°C": ["C", "oC", "degC", "deg. C", "℃", "º C", "Celsius"],
    "µm": ["um", "μm"],
    "W/(m·K)": ["W m-1 K-1", "W/m/K", "W m⁻¹ K⁻¹"],
    "A/cm²": ["A cm-2", "A/cm2", "A cm^-2"],
    "h": ["hr", "hours", "Hours"],
    "1/h": ["h-1", "h⁻¹"],
    "": ["-", "(-)", "–", "1"],
}
OTHER = [
    *[
        ("K", "°C"),
        ("min", "h"),
        ("mol%", "wt%"),
        ("%", "wt%"),
        ("wt%", "%"),
        ("mPa", "MPa"),
        ("mol", "mol/l"),
        ("m", "M"),
    ],
    *[("°C", "C"), ("s", "S"), ("", "HV"), ("-", "HV"), ("mmol/l", "mol/l"), ("kg", "g"), ("HV10", "HV"), ("hV", "HV")],
    *[("%", ""), ("mol l", "mol/l"), ("K/min", "°C/min")],
]


@pytest.mark.parametrize(("written", "unit"), [(w, unit) for unit, found in SAME.items() for w in found])
def test_a_unit_has_many_spellings(written, unit):
    assert same_unit(written, unit) and same_unit(unit, unit)


@pytest.mark.parametrize(("written", "unit"), OTHER)
def test_another_unit_is_another_unit(written, unit):
    assert not same_unit(written, unit)


TITLES = Titles(
    {
        **{
            "trial": "",
            "temperature": "°C",
            "conc": "mol/l",
            "Co": "wt%",
            "CO": "wt%",
            "T": "K",
            "a/b ratio": "",
            "y": "",
        },
        **{"yield": "%", "yield ±": "%", "C11": "GPa", "reaction time": "h", "x_a": "", "x a": ""},
    },
    frozenset({"yield", "C11", "y"}),
)
KNOWN = {
    "temperature": [
        "Temperature (°C)",
        "temperature [°C]",
        "temperature / °C",
        "temperature, °C",
        "TEMPERATURE in °C",
        "temperature °C",
        "Temperature_C",
        "temperature/degC",
        "temperature:",
    ],
    "conc": ["conc / mol/l", "Conc (mol/L)", "conc [M]", "conc/mol L⁻¹"],
    "reaction time": ["Reaction_Time [hours]", "reaction-time / h", "ReactionTime"],
    "yield ±": ["yield ± (%)", "yield (%) ±", "yield +/-", "Yield ± / %"],
    "a/b ratio": ["A/B ratio", "a/b ratio (-)"],
    **{"T": ["T / K"], "Co": ["Co", "Co (wt.-%)"], "CO": ["CO"], "x a": ["x a"], "x_a": ["x_a"]},
}


@pytest.mark.parametrize(("name", "title"), [(name, title) for name, found in KNOWN.items() for title in found])
def test_a_title_in_any_usual_form_is_known(name, title):
    assert TITLES.find(title).name == name and TITLES.find(title).reading is None


@pytest.mark.parametrize(
    ("title", "name", "number"),
    [
        ("yield 1", "yield", 1),
        ("Yield (%) #2", "yield", 2),
        ("yield [%] (3)", "yield", 3),
        ("yield_4", "yield", 4),
        ("yield run 5 / %", "yield", 5),
        ("C11 1", "C11", 1),
        ("y 1", "y", 1),
        ("y (2)", "y", 2),
    ],
)
def test_readings_are_numbered(title, name, number):
    found = TITLES.find(title)
    assert (found.name, found.reading) == (name, number)


@pytest.mark.parametrize(
    "title", ["t", "co", "XA", "y1", "C111", "yield1", "yeild", "date", "temperature 2", "x" * 999]
)
def test_a_title_is_never_guessed(title):
    with pytest.raises(UnknownTitle):
        TITLES.find(title)


@pytest.mark.parametrize(
    "title",
    ["temperature (K)", "temperature K", "temperature/K", "Reaction time [min]", "conc (mmol/l)", "a/b ratio / %"],
)
def test_another_unit_in_a_title_is_refused(title):
    with pytest.raises(WrongUnit, match="convert the values and correct the title"):
        TITLES.find(title)


def test_a_name_that_is_there_is_itself():
    assert TITLES.find("trial") == Meaning("trial")
