"""AnoEAN and its peers, a file each; the contract is `anoean_cli.interfaces.DetectorPlugin`."""
