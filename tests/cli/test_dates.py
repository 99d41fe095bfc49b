"""A table with a column of times, from training to scores in later weeks and the exported graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pandas as pd
import pytest

from anoean_cli.inference.model import load_model

from .conftest import Run, Shared, trained


def calls(weeks: range, at_night: bool = False, rows: int = 600, seed: int = 0) -> pd.DataFrame:
    """Calls in the office hours of Berlin, or all of them at night."""
    rng = np.random.default_rng(seed)
    day = 7 * rng.integers(weeks.start, weeks.stop, rows) + rng.integers(0, 5, rows)
    hour = rng.uniform(0, 4, rows) if at_night else rng.uniform(9, 17, rows)
    local = pd.Timestamp("2026-06-01") + pd.to_timedelta(24 * day + hour, "h")
    time = pd.Series(local).dt.floor("s").dt.tz_localize("Europe/Berlin")
    time[rng.random(rows) < 0.02] = pd.NaT
    return pd.DataFrame({"time": time, "minutes": rng.exponential(size=rows).round(3)})


@pytest.fixture(scope="session")
def calls_run(shared: Shared) -> Path:
    def fill(folder: Path) -> None:
        calls(range(6)).to_csv(folder / "calls.csv", index=False)
        trained("--dataset calls.csv --detector knn")(folder)

    return shared("calls", fill)


def test_it_is_said_what_is_learned_of_a_time(calls_run: Path) -> None:
    notes = (calls_run / "notes.txt").read_text()
    assert (
        "column 'time' holds dates: learned from are time of day and day of the week, in UTC"
        in notes
    )


def test_later_rows_are_as_normal_and_nights_are_not(anoean: Run, calls_run: Path) -> None:
    model = calls_run / "model.h5"
    calls(range(6, 10), seed=1).to_csv("later.csv", index=False)
    calls(range(6, 10), at_night=True, seed=2).to_csv("nights.csv", index=False)
    rows = anoean("score later.csv nights.csv --fpr 0.05 -m", model).rows
    later, nights = np.array([row["anomaly"] == "true" for row in rows]).reshape(2, -1).mean(axis=1)
    assert later < 0.1
    assert nights > 0.9


def test_csv_parquet_and_frames_score_alike(anoean: Run, calls_run: Path) -> None:
    frame = calls(range(6, 10), rows=60, seed=1)
    frame.to_csv("rows.csv", index=False)
    frame.to_parquet("rows.parquet")
    frame.assign(time=frame["time"].dt.tz_convert("UTC")).to_csv("utc.csv", index=False)
    texts = frame.assign(time=frame["time"].astype(str).replace("NaT", None))
    texts.to_parquet("texts.parquet")
    model = calls_run / "model.h5"
    rows = anoean("score rows.csv rows.parquet utc.csv texts.parquet -m", model).rows
    found = np.array([float(row["score"]) for row in rows]).reshape(4, len(frame))
    expected = load_model(model).anomaly_score(frame)
    assert (found == expected).all()


def test_days_first_stay_first_in_scoring(anoean: Run, calls_run: Path) -> None:
    """Rows to come may all be of days up to the 12th."""
    for name, frame in (("old", calls(range(6))), ("new", calls(range(9, 10), seed=1))):
        local = frame["time"].dt.tz_localize(None)
        frame.assign(time=local).to_csv(f"{name}-iso.csv", index=False)
        slashed = local.dt.strftime("%d/%m/%Y %H:%M:%S")
        frame.assign(time=slashed).to_csv(f"{name}-days.csv", index=False)
        months = local.dt.strftime("%m/%d/%Y %H:%M:%S")
        frame.assign(time=months).to_csv(f"{name}-months.csv", index=False)
    assert anoean("prepare old-days.csv --out old-days.h5").returncode == 0
    found = {}
    for data in ("old-iso.csv", "old-days.csv", "old-days.h5"):
        done = anoean(f"train --dataset {data} --detector knn -m {data}.model.h5")
        assert done.returncode == 0, done.stderr
        inputs = "new-iso.csv" if "iso" in data else "new-days.csv new-iso.csv"
        rows = anoean(f"score {inputs} -m {data}.model.h5").rows
        found[data] = [row["score"] for row in rows]
    assert found["old-days.csv"] == found["old-iso.csv"] * 2
    assert found["old-days.h5"] == found["old-iso.csv"] * 2
    done = anoean("score old-months.csv -m old-days.csv.model.h5")
    assert done.returncode == 3
    assert "is not a date such as 31/01/2026 or 31/01/2026 08:15:00" in done.error


def test_what_is_said_of_open_dates_holds_wherever_the_model_reads(anoean: Run) -> None:
    """All days are up to the 12th: only the user knows that they come first."""
    for name, seed in (("old", 1), ("new", 2)):
        frame = pd.concat([calls(range(15), seed=seed), calls(range(15), True, 60, seed + 2)])
        frame["kind"] = ["ok"] * 600 + ["night"] * 60
        frame["time"] = frame["time"].dt.tz_localize(None)
        frame = frame[~(frame["time"].dt.day > 12)]
        frame.to_csv(f"{name}-iso.csv", index=False)
        frame["time"] = frame["time"].dt.strftime("%d/%m/%Y %H:%M:%S")
        frame.to_csv(f"{name}.csv", index=False)
        frame.to_parquet(f"{name}.parquet", index=False)
    options = "--label kind --normal ok --detector knn --test-size 0.3 -m"
    done = anoean(f"train --dataset old.csv {options} open.h5")
    assert "dates that may have the day or the month first (say --dates day-first or" in done.stderr
    assert anoean(f"train --dataset old-iso.csv {options} iso.h5").returncode == 0
    done = anoean(f"train --dataset old.csv --dates day-first {options} days.h5")
    assert "column 'time' holds dates with the day first: learned from are" in done.stderr
    assert anoean("prepare new.csv --label kind --dates day-first --out new.h5").returncode == 0
    assert anoean("prepare new.csv --label kind --out text.h5").returncode == 0

    scores = [row["score"] for row in anoean("score new-iso.csv -m iso.h5").rows]
    rows = anoean("score new.csv new.parquet new.h5 text.h5 new-iso.csv -m days.h5").rows
    assert [row["score"] for row in rows] == scores * 5
    rows = anoean("score - -m days.h5", input=Path("new.csv").read_text()).rows
    assert [row["score"] for row in rows] == scores

    found = {}
    for model, data in (("iso.h5", "new-iso.csv"), ("days.h5", "new.csv")):
        set_aside = anoean(f"evaluate --json -m {model}").json
        given = anoean(f"evaluate --json --data {data} --label kind -m {model}").json
        done = anoean(f"calibrate --data {data} --label kind -m {model}")
        assert done.returncode == 0, done.stderr
        again = anoean(f"score {data} -m {model}").rows
        found[model] = (set_aside["auc_pr"], given["auc_pr"], [row["p_value"] for row in again])
    assert found["days.h5"] == found["iso.h5"]


def test_bad_times_end_scoring_or_are_flagged(anoean: Run, calls_run: Path) -> None:
    model = calls_run / "model.h5"
    times = ["2026-07-01T09:00:00Z", "", "09:00", "2026-07-01 09:00:00", "2026-07-01 09:00+02:00"]
    Path("rows.csv").write_text(
        "\n".join(["minutes,time", *(f"1,{time}" for time in times)]) + "\n"
    )
    done = anoean("score rows.csv -m", model)
    assert done.returncode == 3
    assert "rows.csv, line 4, column 'time': '09:00' is not a date such as 2026-" in done.error
    rows = anoean("score rows.csv --on-error flag -m", model).rows
    assert [bool(row["reason"]) for row in rows] == [False, False, True, True, False]
    assert "has no time zone, and the other dates of this column have" in rows[3]["reason"]


def test_export_takes_seconds(anoean: Run, calls_run: Path) -> None:
    frame = calls(range(6, 10), rows=60, seed=1)
    frame.to_csv("rows.csv", index=False)
    model = calls_run / "model.h5"
    done = anoean("export model.onnx -m", model)
    assert done.returncode == 0, done.stderr
    assert "time" in done.stderr
    assert "seconds since 1970" in done.stderr
    seconds = (frame["time"] - pd.Timestamp(0, tz="UTC")) / pd.Timedelta("1s")
    given = {"time": seconds.to_numpy()[:, None], "minutes": frame["minutes"].to_numpy()[:, None]}
    (found,) = ort.InferenceSession("model.onnx").run(["score"], given)
    rows = anoean("score rows.csv -m", model).rows
    np.testing.assert_allclose(found, [float(row["score"]) for row in rows], rtol=1e-5)


def test_a_prepared_table_keeps_its_times(anoean: Run, calls_run: Path) -> None:
    done = anoean("prepare", calls_run / "calls.csv", "--out calls.h5")
    assert done.returncode == 0, done.stderr
    model = calls_run / "model.h5"
    rows = anoean("score calls.h5", calls_run / "calls.csv", "-m", model).rows
    scores = [row["score"] for row in rows]
    assert scores[: len(scores) // 2] == scores[len(scores) // 2 :]
    # Of other tables, columns may have been taken for something else.
    frame = calls(range(2), rows=5)
    frame.assign(time=None, minutes="1.5").to_parquet("empty.parquet")
    frame.assign(time="soon").to_parquet("words.parquet")
    for name in ("empty", "words"):
        assert anoean(f"prepare {name}.parquet --out {name}.h5").returncode == 0
    assert all(row["score"] for row in anoean("score empty.h5 -m", model).rows)
    done = anoean("score words.h5 -m", model)
    assert done.returncode == 3
    assert "words.h5, column 'time': is not datetime-utc: 'soon' is not a date" in done.error
