exit code 0
decision 1   at the start
  line 8      calls a-0(1)
  line 8      waits for a-0
decision 2   2026-01-01 12:00:21   after event 7
  a-0 was cancelled: StopRequested
  line 10     calls b-0("clean-up")
  line 10     waits for b-0
decision 3   2026-01-01 12:00:22   after event 9
  b-0 completed: ["b", "clean-up"]
  the code returned ["TaskCancelled",["b", "clean-up"]]
