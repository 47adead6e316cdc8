"""The server of a lab: a REST interface and a page for the bench and the phone, over one study's ledger."""
