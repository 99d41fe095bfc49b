"""Networks from rows to the decision space; `anoean_cli.interfaces.EncoderPlugin`."""
