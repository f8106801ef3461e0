exit code 0
decision 1   at the start
  line 8      calls a-0(1)
  line 8      calls a-1(2)   (not yet on record)
  line 10     waits for a-0
decision 2   2026-01-01 12:00:01   after event 3
  a-0 was cancelled: StopRequested
  line 10     waits for a-1
decision 3   2026-01-01 12:00:01   after event 4
  a-1 was cancelled: StopRequested
  line 13     calls b-0("clean-up")
  line 13     waits for b-0
decision 4   2026-01-01 12:00:02   after event 6
  b-0 completed: ["b", "clean-up"]
  the code returned [["a-0 was cancelled: StopRequested","a-1 was cancelled: StopRequested"],["b", "clean-up"]]
