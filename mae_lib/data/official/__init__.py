"""Published data sets in the layouts that their archives unpack to."""
