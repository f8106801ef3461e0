exit code 0
decision 1   at the start
  line 8      calls a-0(1)
  line 8      waits for a-0
decision 2   2026-01-01 12:00:12   after event 5
  a-0: attempt 2 timed out (ScheduleToClose): attempt 1 failed: Error: no (exit code 1), final
  line 10     calls b-0("clean-up")
  line 10     waits for b-0
decision 3   2026-01-01 12:00:13   after event 7
  b-0 completed: ["b", "clean-up"]
  the code returned ["TaskTimedOut",["b", "clean-up"]]
