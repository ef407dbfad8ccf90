"""One small file for each quirk of the files that people have, and the table that pandas gives when told by hand.

`files/NAME` is read by read_file with the keys of the table below, and by pandas with the options that a person who
looked at the file would give. Files without keys must be understood alone.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.data.files import read_file

FILES = Path(__file__).parent / "files"


def by_hand(**options: Any) -> Callable[[Path], pd.DataFrame]:
    return lambda path: pd.read_csv(path, **options)


def columns(**values: list[Any]) -> Callable[[Path], pd.DataFrame]:
    """The table written out, where pandas needs several steps."""
    return lambda path: pd.DataFrame(values)


def dates(column: str, form: str, sep: str = ",") -> Callable[[Path], pd.DataFrame]:
    def read(path: Path) -> pd.DataFrame:
        frame = pd.read_csv(path, sep=sep)
        return frame.assign(**{column: pd.to_datetime(frame[column], format=form)})

    return read


XY = ["x", "y"]
NONE: dict[str, Any] = {}
DOLLARS = columns(a=[1, 3, 5], price=[1200.5, 3.0, -2.25], kind=["x", "y", "x"])
MISSING_DASH = columns(a=[1, 3, 5], b=[None, 4.5, None], kind=["x", "y", "x"])
NUMBERED = columns(a=[5, 7, 6], kind=["x", "y", "x"])

TIMES = columns(
    at=pd.to_timedelta(["08:30:00", "23:05:00"]),
    took=pd.to_timedelta(["00:01:30", "12:00:00.5"]),
    alarm=pd.to_timedelta(["08:30:00", "12:05:00"]),
    kind=XY,
)

# the file, the keys, the table
CASES: list[tuple[str, dict[str, Any], Callable[[Path], pd.DataFrame]]] = [
    ("plain.csv", NONE, by_hand()),
    ("tabs.tsv", NONE, by_hand(sep="\t")),
    ("pipes.txt", NONE, by_hand(sep="|")),
    ("colons.txt", NONE, by_hand(sep=":")),
    ("blanks.txt", NONE, by_hand(sep=" ")),
    ("aligned.dat", NONE, by_hand(sep=r"\s+")),
    ("runs.txt", NONE, by_hand(sep=r"\s{2,}", engine="python")),
    ("semicolons.csv", NONE, by_hand(sep=";")),
    ("decimal_comma.csv", NONE, by_hand(sep=";", decimal=",")),
    ("decimal_comma_tabs.tsv", NONE, by_hand(sep="\t", decimal=",")),
    ("decimal_comma_blanks.txt", NONE, by_hand(sep=" ", decimal=",", header=None)),
    ("decimal_comma_quoted.csv", NONE, by_hand(decimal=",")),
    ("german_thousands.csv", NONE, by_hand(sep=";", decimal=",", thousands=".")),
    ("cents.csv", NONE, by_hand(sep=";")),
    ("cents.csv", {"thousands": "point", "decimal": "comma"}, by_hand(sep=";", thousands=".", decimal=",")),
    ("thousands.csv", NONE, by_hand(thousands=",")),
    ("thousands_blank.csv", NONE, by_hand(sep=";", thousands=" ")),
    ("thousands_apostrophe.csv", NONE, by_hand(thousands="'")),
    ("dollars.csv", NONE, DOLLARS),
    ("euros.csv", NONE, columns(a=[1, 3], price=[2.5, 4.0], kind=XY)),
    ("accounting.csv", NONE, columns(a=[1, 3], profit=[-1234, 200], kind=XY)),
    ("percent.csv", NONE, columns(a=[1, 3], share=[5, 7.5], kind=XY)),
    ("scientific.csv", NONE, by_hand()),
    ("big_numbers.csv", NONE, by_hand()),
    ("dates_iso.csv", NONE, dates("day", "%Y-%m-%d")),
    ("dates_times.csv", NONE, dates("when", "%Y-%m-%d %H:%M:%S")),
    ("dates_zone.csv", NONE, columns(when=pd.to_datetime(["2020-01-31 08:30", "2021-12-01 00:00"]), kind=XY)),
    ("dates_slashes.csv", NONE, dates("day", "%Y/%m/%d")),
    ("dates_day_first.csv", NONE, dates("day", "%d/%m/%Y")),
    ("dates_month_first.csv", NONE, dates("day", "%m/%d/%Y")),
    ("dates_german.csv", NONE, dates("day", "%d.%m.%Y", sep=";")),
    ("dates_ambiguous.csv", NONE, dates("day", "%m/%d/%Y")),
    ("dates_ambiguous.csv", {"dates": "%d/%m/%Y"}, dates("day", "%d/%m/%Y")),
    ("dates_ambiguous.csv", {"dates": False}, by_hand()),
    ("dates_words.csv", NONE, dates("day", "%b %d, %Y")),
    ("quarters.csv", NONE, columns(time=pd.to_datetime(["1974-01-01", "1974-04-01"]), b=[1, 2], kind=XY)),
    ("times.csv", NONE, TIMES),
    ("times.csv", {"dates": False}, by_hand()),
    ("yes_no.csv", NONE, columns(a=[1, 3, 5], ok=[True, False, True], kind=["x", "y", "x"])),
    ("true_false.csv", NONE, by_hand()),
    ("true_gaps.csv", NONE, by_hand(dtype={"ok": "boolean"})),
    ("zero_one.csv", NONE, by_hand()),
    ("letters_t_f.csv", NONE, by_hand(true_values=["T"], false_values=["F"])),
    ("yes_no_target.csv", NONE, by_hand()),
    ("gaps.csv", NONE, by_hand()),
    ("gaps_spelled.csv", NONE, by_hand()),
    ("gaps_question.csv", NONE, by_hand(na_values="?")),
    ("gaps_dash.csv", NONE, MISSING_DASH),
    ("gaps_point.csv", NONE, by_hand(na_values=".")),
    ("dash_category.csv", NONE, by_hand()),
    ("gaps_number.csv", NONE, by_hand()),
    ("gaps_number.csv", {"missing": -999}, by_hand(na_values=-999)),
    ("gaps_word.csv", NONE, by_hand()),
    ("gaps_word.csv", {"missing": ["unknown"]}, by_hand(na_values="unknown")),
    ("na_is_a_class.csv", NONE, by_hand()),
    ("na_is_a_class.csv", {"missing": []}, by_hand(keep_default_na=False)),
    ("bom.csv", NONE, by_hand(encoding="utf-8-sig")),
    ("utf8.csv", NONE, by_hand(encoding="utf-8")),
    ("utf16.csv", NONE, by_hand(encoding="utf-16")),
    ("utf16_no_mark.csv", NONE, by_hand(encoding="utf-16-le")),
    ("latin1.csv", NONE, by_hand(encoding="latin-1")),
    ("cp1252.csv", NONE, columns(a=[1, 3], price=[2, 4], kind=XY)),
    ("cp1250.csv", {"encoding": "cp1250"}, by_hand(encoding="cp1250")),
    ("quotes.csv", NONE, by_hand()),
    ("quotes_doubled.csv", NONE, by_hand()),
    ("quotes_newline.csv", NONE, by_hand()),
    ("quotes_stray.csv", NONE, by_hand()),
    ("quotes_open.csv", NONE, by_hand(quoting=3)),
    (
        "quotes_after_blank.csv",
        NONE,
        by_hand(skipinitialspace=True, header=None, names=["a", " b", " kind"], skiprows=1),
    ),
    ("blank_before_text.csv", NONE, columns(**{"a": [1, 3], " b": [2, 4], " kind": XY})),
    ("names_with_blanks.csv", NONE, by_hand()),
    ("comments.csv", NONE, by_hand(comment="#")),
    ("comment_header.txt", NONE, by_hand(sep=" ", comment="#", header=None, names=["a", "b", "kind"])),
    ("hash_name.csv", NONE, by_hand()),
    ("title.csv", NONE, by_hand(skiprows=2)),
    ("titles.csv", NONE, by_hand(skiprows=2)),
    ("titles.csv", {"header": 3}, by_hand(skiprows=2)),
    ("units.csv", NONE, by_hand(skiprows=[1])),
    ("units_missing.csv", NONE, by_hand()),
    ("footer.csv", NONE, by_hand(nrows=2)),
    ("footer_prose.txt", NONE, by_hand(sep=" ", nrows=3)),
    ("footer_commas.csv", NONE, by_hand(nrows=2)),
    ("two_years.csv", NONE, by_hand()),
    ("title_blanks.txt", NONE, by_hand(sep=" ", header=None, skiprows=2)),
    ("footer_padded.csv", NONE, by_hand(nrows=2)),
    ("gap_last.csv", NONE, columns(day=pd.to_datetime(["2020-01-31", "2021-12-01", "2021-12-02"]), b=[1.5, 2.5, None])),
    ("grouped_or_decimal.csv", NONE, by_hand(sep="\t", thousands=",")),
    ("grouped_or_decimal.csv", {"decimal": "comma"}, by_hand(sep="\t", decimal=",")),
    ("sep_line.csv", NONE, by_hand(sep=";", skiprows=1, decimal=",")),
    ("trailing.csv", NONE, by_hand(index_col=False)),
    ("trailing_all.csv", NONE, by_hand(sep=";", usecols=[0, 1, 2])),
    ("short_rows.csv", NONE, by_hand()),
    ("ragged.csv", {"bad_rows": "drop"}, by_hand(on_bad_lines="skip")),
    ("empty_rows.csv", NONE, columns(a=[1.0, 3.0], b=[2.0, 4.0], kind=XY)),
    ("index.csv", NONE, NUMBERED),
    ("index.csv", {"drop": []}, by_hand()),
    ("index_from_one.csv", NONE, NUMBERED),
    ("index_unnamed.csv", NONE, NUMBERED),
    ("index_shuffled.csv", NONE, NUMBERED),
    ("row_names.txt", NONE, lambda path: pd.read_csv(path, sep=" ").reset_index(drop=True)),
    ("id.csv", NONE, by_hand()),
    ("id.csv", {"drop": "id"}, NUMBERED),
    ("duplicates.csv", NONE, by_hand()),
    ("nameless.csv", NONE, by_hand()),
    ("label_first.csv", {"target": "kind"}, lambda path: pd.read_csv(path)[["a", "b", "kind"]]),
    ("label_first.csv", {"target": "kind", "inputs": ["b"]}, lambda path: pd.read_csv(path)[["b", "kind"]]),
    ("one_hot.csv", {"target": ["cat", "dog"]}, by_hand()),
    ("two_targets.csv", {"target": ["y2", "y1"]}, lambda path: pd.read_csv(path)[["a", "y2", "y1"]]),
    ("constant.csv", NONE, by_hand()),
    ("one_class.csv", NONE, by_hand()),
    ("rare.csv", NONE, by_hand()),
    ("near_classes.csv", NONE, by_hand()),
    ("no_header.csv", NONE, by_hand(header=None)),
    ("no_header_text_first.csv", NONE, by_hand(header=None)),
    ("no_header_text.csv", NONE, by_hand(header=None)),
    ("digits.csv", NONE, by_hand(header=None)),
    ("plain.csv", {"header": False}, by_hand(header=None)),
    ("no_header.csv", {"header": 1}, by_hand()),
    ("wavelengths.csv", NONE, by_hand()),
    ("wavelengths_only.csv", NONE, by_hand()),
    ("wavelengths_only.csv", {"header": False}, by_hand(header=None)),
    ("numbered_header.csv", NONE, by_hand()),
    ("years.csv", NONE, by_hand()),
    ("header_second.csv", NONE, by_hand()),
    ("header_second.csv", {"header": 2}, by_hand(header=1)),
    ("cr.csv", NONE, by_hand()),
    ("crlf.csv", NONE, by_hand()),
    ("no_last_newline.csv", NONE, by_hand()),
    ("nul.csv", NONE, columns(a=[1, 3], b=[2, 4], kind=XY)),
    ("one_row.csv", NONE, by_hand()),
]


def together(read: dict[str, Any]) -> pd.DataFrame:
    """Inputs and targets side by side."""
    return pd.concat([read["data"], read["target"]], axis="columns")


@pytest.mark.parametrize(("name", "keys", "table"), CASES, ids=[f"{name}-{','.join(keys)}" for name, keys, _ in CASES])
def test_a_file_is_read_as_by_hand(name, keys, table):
    expected = table(FILES / name)
    expected.columns = expected.columns.astype(str)
    found = together(read_file(str(FILES / name), **keys))
    plain = [
        frame.astype({c: object for c in frame if frame[c].dtype.kind not in "iufbM"}) for frame in (found, expected)
    ]
    gaps = [frame.where(frame.notna(), None) if len(frame.select_dtypes(object).columns) else frame for frame in plain]
    pd.testing.assert_frame_equal(*gaps, check_column_type=False, check_index_type=False, check_dtype=False)
    for column in expected:
        kinds = {frame[column].dtype.kind.replace("O", "U").replace("T", "U") for frame in (found, expected)}
        assert len(kinds) == 1, column


def test_every_small_file_is_tested():
    assert {path.name for path in FILES.iterdir()} == {name for name, _, _ in CASES}
    assert len(list(FILES.iterdir())) >= 60
