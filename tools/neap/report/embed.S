/* embed.S: the finished template of the report, as bytes. */
    .section .rodata
    .global neap_report_begin, neap_report_end
neap_report_begin:
    .incbin REPORT_HTML
neap_report_end:
    .section .note.GNU-stack,"",%progbits
