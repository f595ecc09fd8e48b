"""Push: the release of a promoted model to the registry and, if asked, to the Hub."""
