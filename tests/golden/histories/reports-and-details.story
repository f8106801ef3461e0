exit code 0
decision 1   at the start
  line 2      calls a-0(1)
  line 2      waits for a-0
decision 2   2026-01-01 12:01:36   after event 10
  a-0 completed: ["a", 1]
  the code returned ["a", 1]
