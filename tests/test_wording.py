from anoean_cli.wording import counted


def test_one_is_no_plural() -> None:
    found = [counted(1, "row"), counted(0, "row"), counted(1000, "row"), counted(2, "anomaly")]
    assert found == ["1 row", "0 rows", "1,000 rows", "2 anomalies"]
