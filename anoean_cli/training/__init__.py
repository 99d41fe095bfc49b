"""From a data set to a model; outside of plugins, the only room that imports torch."""
