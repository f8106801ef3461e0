exit code 0
decision 1   at the start
  line 3      calls a-0(0)
  line 3      calls a-1(1)
  line 3      calls a-2(2)
  line 3      calls a-3(3)
  line 3      calls a-4(4)
  line 3      calls a-5(5)
  line 3      calls a-6(6)
  line 3      calls a-7(7)   (not yet on record)
  line 3      calls a-8(8)   (not yet on record)
  line 3      calls a-9(9)   (not yet on record)
  line 3      calls a-10(10)   (not yet on record)
  line 3      calls a-11(11)   (not yet on record)
  line 3      calls a-12(12)   (not yet on record)
  line 3      calls a-13(13)   (not yet on record)
  line 3      calls a-14(14)   (not yet on record)
  line 3      calls a-15(15)   (not yet on record)
  line 3      calls a-16(16)   (not yet on record)
  line 3      calls a-17(17)   (not yet on record)
  line 3      calls a-18(18)   (not yet on record)
  line 3      calls a-19(19)   (not yet on record)
  line 3      calls a-20(20)   (not yet on record)
  line 3      calls a-21(21)   (not yet on record)
  line 3      calls a-22(22)   (not yet on record)
  line 3      calls a-23(23)   (not yet on record)
  line 3      calls a-24(24)   (not yet on record)
  line 3      calls a-25(25)   (not yet on record)
  line 3      calls a-26(26)   (not yet on record)
  line 3      calls a-27(27)   (not yet on record)
  line 3      calls a-28(28)   (not yet on record)
  line 3      calls a-29(29)   (not yet on record)
  line 3      waits for a-0
decision 2   2026-01-01 12:00:01   after event 14
  a-0 completed: 0
  a-1 completed: 1
  a-2 completed: 2
  a-3 completed: 3
  a-4 completed: 4
  a-5 completed: 5
  a-6 completed: 6
  line 3      calls a-30(0)   (not yet on record)
  line 3      waits for a-30
decision 3   2026-01-01 12:00:02   after event 28
  a-10 completed: 10
  a-11 completed: 11
  a-12 completed: 12
  a-13 completed: 13
  a-7 completed: 7
  a-8 completed: 8
  a-9 completed: 9
  line 3      waits for a-30
decision 4   2026-01-01 12:00:03   after event 42
  a-14 completed: 14
  a-15 completed: 15
  a-16 completed: 16
  a-17 completed: 17
  a-18 completed: 18
  a-19 completed: 19
  a-20 completed: 20
  line 3      waits for a-30
decision 5   2026-01-01 12:00:04   after event 56
  a-21 completed: 21
  a-22 completed: 22
  a-23 completed: 23
  a-24 completed: 24
  a-25 completed: 25
  a-26 completed: 26
  a-27 completed: 27
  line 3      waits for a-30
decision 6   2026-01-01 12:00:05   after event 62
  a-28 completed: 28
  a-29 completed: 29
  a-30 completed: 0
  line 3      calls a-31(1)
  line 3      waits for a-31
decision 7   2026-01-01 12:00:06   after event 64
  a-31 completed: 1
  line 3      calls a-32(2)
  line 3      waits for a-32
decision 8   2026-01-01 12:00:07   after event 66
  a-32 completed: 2
  line 3      calls a-33(3)
  line 3      waits for a-33
decision 9   2026-01-01 12:00:08   after event 68
  a-33 completed: 3
  line 3      calls a-34(4)
  line 3      waits for a-34
decision 10   2026-01-01 12:00:09   after event 70
  a-34 completed: 4
  line 3      calls a-35(5)
  line 3      waits for a-35
decision 11   2026-01-01 12:00:10   after event 72
  a-35 completed: 5
  line 3      calls a-36(6)
  line 3      waits for a-36
decision 12   2026-01-01 12:00:11   after event 74
  a-36 completed: 6
  line 3      calls a-37(7)
  line 3      waits for a-37
decision 13   2026-01-01 12:00:12   after event 76
  a-37 completed: 7
  line 3      calls a-38(8)
  line 3      waits for a-38
decision 14   2026-01-01 12:00:13   after event 78
  a-38 completed: 8
  line 3      calls a-39(9)
  line 3      waits for a-39
decision 15   2026-01-01 12:00:14   after event 80
  a-39 completed: 9
  line 3      calls a-40(10)
  line 3      waits for a-40
decision 16   2026-01-01 12:00:15   after event 82
  a-40 completed: 10
  line 3      calls a-41(11)
  line 3      waits for a-41
decision 17   2026-01-01 12:00:16   after event 84
  a-41 completed: 11
  line 3      calls a-42(12)
  line 3      waits for a-42
decision 18   2026-01-01 12:00:17   after event 86
  a-42 completed: 12
  line 3      calls a-43(13)
  line 3      waits for a-43
decision 19   2026-01-01 12:00:18   after event 88
  a-43 completed: 13
  line 3      calls a-44(14)
  line 3      waits for a-44
decision 20   2026-01-01 12:00:19   after event 90
  a-44 completed: 14
  line 3      calls a-45(15)
  line 3      waits for a-45
decision 21   2026-01-01 12:00:20   after event 92
  a-45 completed: 15
  line 3      calls a-46(16)
  line 3      waits for a-46
decision 22   2026-01-01 12:00:21   after event 94
  a-46 completed: 16
  line 3      calls a-47(17)
  line 3      waits for a-47
decision 23   2026-01-01 12:00:22   after event 96
  a-47 completed: 17
  line 3      calls a-48(18)
  line 3      waits for a-48
decision 24   2026-01-01 12:00:23   after event 98
  a-48 completed: 18
  line 3      calls a-49(19)
  line 3      waits for a-49
decision 25   2026-01-01 12:00:24   after event 100
  a-49 completed: 19
  line 3      calls a-50(20)
  line 3      waits for a-50
decision 26   2026-01-01 12:00:25   after event 102
  a-50 completed: 20
  line 3      calls a-51(21)
  line 3      waits for a-51
decision 27   2026-01-01 12:00:26   after event 104
  a-51 completed: 21
  line 3      calls a-52(22)
  line 3      waits for a-52
decision 28   2026-01-01 12:00:27   after event 106
  a-52 completed: 22
  line 3      calls a-53(23)
  line 3      waits for a-53
decision 29   2026-01-01 12:00:28   after event 108
  a-53 completed: 23
  line 3      calls a-54(24)
  line 3      waits for a-54
decision 30   2026-01-01 12:00:30   after event 110
  a-54 completed: 24
  line 3      calls a-55(25)
  line 3      waits for a-55
decision 31   2026-01-01 12:00:31   after event 112
  a-55 completed: 25
  line 3      calls a-56(26)
  line 3      waits for a-56
decision 32   2026-01-01 12:00:32   after event 114
  a-56 completed: 26
  line 3      calls a-57(27)
  line 3      waits for a-57
decision 33   2026-01-01 12:00:33   after event 116
  a-57 completed: 27
  line 3      calls a-58(28)
  line 3      waits for a-58
decision 34   2026-01-01 12:00:34   after event 118
  a-58 completed: 28
  line 3      calls a-59(29)
  line 3      waits for a-59
decision 35   2026-01-01 12:00:35   after event 120
  a-59 completed: 29
  the code returned 435
