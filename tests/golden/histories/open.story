exit code 0
decision 1   at the start
  line 3      calls a-0(1)
  line 3      calls a-1(2)
  line 3      waits for a-0
  line 3      waits for a-1
decision 2   2026-01-01 12:00:01   after event 3
  a-0 completed: ["a", 1]
  line 3      waits for a-1
