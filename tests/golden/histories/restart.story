exit code 0
decision 1   2026-01-01 12:00:02   after event 6
  line 6      calls a-0(0)
  line 6      waits for a-0
decision 2   2026-01-01 12:00:03   after event 8
  a-0 completed: ["a", 0]
  the code returned ["a", 0]
