"""Parse columns of dates; all cells of a column must share one format."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Literal

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from accomplice.data.arrays import Array
from accomplice.data.errors import InputError

#: Short English names of the months, January first.
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH = "|".join(MONTHS)
#: A date written as text, such as 2020-03-01, 1.3.20, 1-Mar-2020, 1MAR2020 or Mar 1, 2020.
_TEXT = re.compile(
    r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})([ T].*)?|(\d{1,2})([-/.])(\d{1,2})\7(\d{2}|\d{4})( .*)?"
    r"|\d{1,2}[- ][A-Za-z]{3,9}[- ]\d{2,4}|[A-Za-z]{3,9} \d{1,2},? \d{4}"
    rf"|\d{{1,2}}(?i:{_MONTH})(\d{{2}}|\d{{4}})|\d{{4}}年\d{{1,2}}月\d{{1,2}}日"
)
#: Formats of dates with a month's name or Chinese characters; see `_digit_formats` for the others.
_NAMED_FORMATS = (
    *("%d-%b-%Y", "%d-%b-%y", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y"),
    *("%d%b%Y", "%d%b%y", "%Y年%m月%d日"),
)

#: A gene's symbol that a spreadsheet has turned into a date, such as 1-Mar or Sep-02.
GENE_AS_DATE = re.compile(
    rf"(?P<day>\d{{1,2}})[-. ](?P<month>{_MONTH})(\.\d+)?"
    rf"|(?P<month2>{_MONTH})[-. ](?P<day2>\d{{1,2}})"
)

#: Digits that can be a year outside 1678 to 2261, of which timestamps in nanoseconds have no dates.
_FAR_YEAR = re.compile(r"0\d{3}|1[0-6]\d\d|2[2-9]\d\d|[3-9]\d{3}")

#: Forms of dates: text or timestamps, whole numbers such as 20200301, a spreadsheet's day numbers.
DateForm = Literal["dates", "dates without marks", "serial dates"]


def is_date(text: str) -> bool:
    """Whether a text is written as a date."""
    return _TEXT.fullmatch(text) is not None


def date_form(cells: pd.Series) -> DateForm | None:
    """Return the form in which a column (n,) holds dates; None if it holds no dates.

    Timestamps are dates. Otherwise more than half of the known cells are dates written as text, or
    at least half are numbers, and all of these are whole: each a year, month and day from 19000101
    to 21001231, or each a spreadsheet's day from 25000 to 55000.
    """
    if cells.dtype.kind == "M":
        return "dates"
    known = cells.dropna()
    if known.empty:
        return None
    if is_numeric_dtype(known.dtype):
        numbers = known
    else:
        texts = known.astype(str).str.strip().str.removesuffix(".0")
        codes, distinct = pd.factorize(texts)
        if np.array([is_date(text) for text in distinct])[codes].mean() > 0.5:
            return "dates"
        numbers = pd.to_numeric(texts, errors="coerce").dropna()
    if len(numbers) < 0.5 * len(known) or not (numbers % 1 == 0).all():
        return None
    whole = numbers.astype("int64")
    month, day = whole // 100 % 100, whole % 100
    if (whole.between(19000101, 21001231) & month.between(1, 12) & day.between(1, 31)).all():
        return "dates without marks"
    # From 1968 to 2050: as durations in days these are 68 years and more.
    return "serial dates" if whole.between(25000, 55000).all() else None


def read_dates(cells: pd.Series, format: str | None, name: str) -> tuple[Array, str | None]:
    """Read a column of dates; a time of day is left out.

    Args:
        cells: the column (n,); cells that mean missing are NaN.
        format: format of text dates, as ``strptime`` takes it; None: the only one that fits all
            known cells. Timestamps do not need it.
        name: the column's name, for errors.

    Returns:
        Days since 1 January 1970 (n,), NaN where missing; and the format, None for timestamps.

    Raises:
        InputError: a cell does not fit the format, the format is not valid, or, without a format,
            all cells are missing, none or several formats fit them, or they are a spreadsheet's day
            numbers.
    """
    if cells.dtype.kind == "M":
        return _days(pd.to_datetime(cells).dt.tz_localize(None)), None
    known = cells.dropna().astype(str).str.strip().str.removesuffix(".0")
    if format is None:
        format = _format_of(known, name)
    try:
        parsed = _parsed(known, format)
    except ValueError:
        raise InputError(
            f"column '{name}': '{format}' is no format of dates: write it as %d.%m.%Y"
        ) from None
    if bad := int(parsed.isna().sum()):
        raise InputError(
            f"column '{name}': {bad} of {len(known)} dates are not written as {format}: correct "
            "them, or name the format (data init --date-format; endpoints.survival, time.format)"
        )
    return _days(parsed.reindex(cells.index)), format


def _parsed(texts: pd.Series, format: str) -> pd.Series:
    """Return texts (n,) as timestamps (n,) of the years 1 to 9999; NaT where one does not fit.

    Raises:
        ValueError: the format is not valid.
    """
    parsed = pd.to_datetime(texts, format=format, errors="coerce")
    if parsed.dt.unit != "ns":
        return parsed
    # pandas 2 has timestamps in nanoseconds alone, which end in the year 2262.
    seconds = parsed.to_numpy().astype("datetime64[s]")
    left = (parsed.isna() & texts.str.contains(_FAR_YEAR)).to_numpy()
    seconds[left] = [_seconds(text, format) for text in texts[left]]
    return pd.Series(seconds, texts.index)


def _seconds(text: str, format: str) -> np.datetime64:
    """Return a text as a timestamp; NaT if it does not fit the format."""
    try:
        return np.datetime64(datetime.strptime(text, format), "s")
    except ValueError:
        return np.datetime64("NaT", "s")


def _days(dates: pd.Series) -> Array:
    # Whole days: a time of day is finer than follow-up.
    days = dates.dt.floor("D").astype("datetime64[s]").astype("int64") / 86400
    return np.where(dates.isna(), np.nan, days.to_numpy(dtype=float))


def _format_of(texts: pd.Series, name: str) -> str:
    """Return the only format that fits all texts.

    Raises:
        InputError: there are no texts, no format fits all of them, several formats do, or they are
            day numbers.
    """
    if date_form(texts) == "serial dates":
        raise InputError(
            f"column '{name}': it holds dates as numbers: show the column as dates, and export it "
            "again"
        )
    fitting, most, closest = [], 0, ""
    for format in (*_digit_formats(texts), *_NAMED_FORMATS):
        try:
            parsed = _parsed(texts, format)
        except ValueError:
            continue
        if len(texts) and not parsed.isna().any():
            fitting.append(format)
        elif (count := int(parsed.notna().sum())) > most:
            most, closest = count, format
    if len(fitting) == 1:
        return fitting[0]
    several = "no one format fits its cells"
    if fitting:
        several = f"both {' and '.join(fitting)} fit"
    elif most:
        several += (
            f": {most} of {len(texts)} are written as {closest}, which the others must be too"
        )
    raise InputError(
        f"column '{name}': {several}: name the format of the dates, such as "
        "--date-format %d.%m.%Y (time.format in the study file)"
    )


def _digit_formats(texts: pd.Series) -> list[str]:
    """Return the formats of dates in digits that the first text can have; none if it has none.

    A date that ends with the year can begin with the day or the month; one with points begins with
    the day.
    """
    first = texts.iloc[0] if len(texts) else ""
    if re.fullmatch(r"\d{8}", first):
        return ["%Y%m%d"]
    match = re.match(r"(\d+)([-/.])(\d+)\2(\d+)(.*)", first)
    if match is None:
        return []
    mark, tail = match[2], match[5]
    clock = {"": "", ":": " %H:%M", "::": " %H:%M:%S"}.get(":" * tail.count(":"), "")
    clock = clock.replace(" ", "T") if tail.startswith("T") else clock
    clock += (".%f" if "." in tail else "") + ("Z" if tail.endswith("Z") else "")
    if len(match[1]) == 4:
        return [f"%Y{mark}%m{mark}%d{clock}"]
    year = "%Y" if len(match[4]) == 4 else "%y"
    orders = [("%d", "%m")] if mark == "." else [("%d", "%m"), ("%m", "%d")]
    return [f"{a}{mark}{b}{mark}{year}{clock}" for a, b in orders]
