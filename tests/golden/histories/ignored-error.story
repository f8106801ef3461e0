exit code 0
decision 1   at the start
  line 4      calls a-0("nobody looks")
  line 5      calls b-0(1)
  line 5      waits for b-0
decision 2   2026-01-01 12:00:01   after event 4
  a-0: attempt 1 failed: Error: lost (exit code 1), final
  b-0 completed: ["b", 1]
  the code returned ["b", 1]
