exit code 0
decision 1   at the start
  line 6      calls a-0(1)
  line 6      calls b-0(2)
  line 6      waits for a-0
  line 6      waits for b-0
decision 2   2026-01-01 12:00:30   after event 4
  b-0 completed: ["b", 2]
  a-0 completed: 1
  the code returned ["b", 2]
