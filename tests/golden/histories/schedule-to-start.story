exit code 0
decision 1   at the start
  line 8      calls a-0(1)
  line 8      waits for a-0
decision 2   2026-01-01 12:00:10   after event 2
  a-0: attempt 1 timed out (ScheduleToStart), final
  line 10     calls b-0("clean-up")
  line 10     waits for b-0
decision 3   2026-01-01 12:00:11   after event 4
  b-0 completed: ["b", "clean-up"]
  the code returned ["TaskTimedOut",["b", "clean-up"]]
