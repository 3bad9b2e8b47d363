"""How a revision gets to its device, and how it is known that it did (architecture.md, *The pipeline*).

`states` is the table of a task's moves, `queue` writes tasks, `outcomes` takes the devices' word, `claims` decides what
goes out now, `courier` sends it over the links of this process, `link` answers the devices, `sweep` takes up what got
lost, `again` issues anew what a device has, `drift` compares what a device should have with what it has.
"""
