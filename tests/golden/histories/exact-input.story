exit code 0
decision 1   at the start
  line 2      calls a-0(1.0, null)
  line 2      waits for a-0
decision 2   2026-01-01 12:00:01   after event 2
  a-0 completed: ["a", 1.0, null]
  the code returned ["a", 1.0, null]
