"""The history of comparisons: kept as Parquet, read as series, searched for change points.

intake    run directories → comparisons, and what was skipped with its reason
archive   comparisons → a folder of immutable files → rows
series    rows → two series an arm, metric and machine
detect    values → steps; pure
marks     what people said of changes: accepted, silenced, annotated, bad
verdict   series, steps and marks → changes
replay    what the detector does on recorded values: false alarms, power, delay
"""
