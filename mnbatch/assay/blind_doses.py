"""The doses of blind samples, opened when all samples are scored: a table with donor and dose_gy."""

from __future__ import annotations

from pathlib import Path

from mnbatch.assay.sample_sheet import DOSE_COLUMNS, composed, stated_dose
from mnbatch.csvfile import CsvError
from mnbatch.errors import StorageError, UsageError
from mnbatch.handed_table import column_key, needs, parse_table
from mnbatch.intake import read_bytes, reason, short
from mnbatch.spelled_numbers import spoiled_name


def read_blind_doses(path: Path) -> dict[str, float]:
    """Donor -> given dose, Gy.

    Raises:
        UsageError: a column that is missing or there twice, a line without donor or dose, a donor twice or spoiled by a
            spreadsheet; names the line.
        StorageError: the file cannot be read.
    """
    try:
        table = parse_table(read_bytes(path), needed=needs("donor", *DOSE_COLUMNS))
    except FileNotFoundError as error:
        raise UsageError(f"There is no file {path}.", "Check --blind.") from error
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {reason(error)}.", "Check its permissions.") from error
    except CsvError as error:
        raise UsageError(f"The table {path} cannot be used: {reason(error)}.", "Save it as 'CSV UTF-8'.") from error
    keys = [column_key(name) for name in table.columns]
    if keys.count("donor") != 1 or sum(key in DOSE_COLUMNS for key in keys) != 1:
        raise UsageError(f"The table {path} has not the columns that are needed.", "They are donor and dose_gy.")
    found: dict[str, float] = {}
    for line, fields in table.rows:
        cells = dict(zip(keys, map(str.strip, fields), strict=True))
        donor, dose = composed(cells["donor"]), stated_dose(path, line, cells, table.separator)
        if spoiled := spoiled_name(donor):
            raise UsageError(f"{path}, line {line}: {spoiled}.", "Write the donor anew.")
        if not donor or dose is None or donor in found:
            what = "it is there twice" if donor in found else "a donor and a dose are needed"
            raise UsageError(f"{path}, line {line}: {short(donor) or 'no donor'}: {what}.", "Correct the line.")
        found[donor] = dose
    if not found:
        raise UsageError(f"The table {path} has no sample.", "Give each sample a line.")
    return found
