exit code 0
decision 1   at the start
  line 3      calls a-0(1)
  line 3      calls a-1(2)
  line 3      waits for a-0
  line 3      waits for a-1
decision 2   2026-01-01 12:00:18   after event 18
  a-0: attempt 3 failed: Error: never (exit code 3), final
  a-1: attempt 3 failed: Error: never (exit code 3), final
  the code failed with Error: never
