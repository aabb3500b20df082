# Writes the report's template with the chart library inlined: cmake -DTEMPLATE= -DCHARTS= -DOUTPUT= -P inline.cmake
file(READ ${TEMPLATE} html)
file(READ ${CHARTS}/dygraph.min.js script)
file(READ ${CHARTS}/dygraph.min.css style)
string(REGEX REPLACE "[^\n]*sourceMappingURL=[^\n]*" "" script "${script}")
string(REGEX REPLACE "[^\n]*sourceMappingURL=[^\n]*" "" style "${style}")
string(REPLACE "/*DYGRAPH_JS*/" "${script}" html "${html}")
string(REPLACE "/*DYGRAPH_CSS*/" "${style}" html "${html}")
file(WRITE ${OUTPUT} "${html}")
