"""Problems as the tasks of a machine that is paid by the task: packed, tried again, journaled, within a budget."""
