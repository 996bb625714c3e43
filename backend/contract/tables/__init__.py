"""The tables of the project file: each module is the SQL of what it is named after. `ProjectFile` is all of them.

    runs         runs, and the queue in it          samples      samples, pictures
    attempts     attempts                           checkpoints  checkpoints
    commands     commands                           evaluations  evaluations
    events       events                             exports      exports
    curves       series, points, batches, pyramid, pyramid_states; their SQL is in `metrics`
    drafts       drafts

Two read across tables: `states` (what a run is doing) and `run_rows` (the list of all runs). The table `project` and
what concerns the file as a whole is in `project_file`.
"""
